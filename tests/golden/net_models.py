#!/usr/bin/env python3
"""Golden values of small networks of every kind but the plain U-Net, from PyTorch in float64.

    python tests/golden/net_models.py          (needs torch, numpy, safetensors)

As net_ops.py does for the U-Net: parameters and inputs come from `fill`, and what is kept are logits, losses, gradients
(their product with a fixed vector, and their norm) and running statistics, in net_models.safetensors beside this file.
"""
import pathlib

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.numpy import save_file

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
HERE = pathlib.Path(__file__).parent


def fill(seed, *shape):
    """As in net_ops.py."""
    i = np.arange(int(np.prod(shape)), dtype=np.uint64)
    h = (i * np.uint64(2654435761) + np.uint64(seed) * np.uint64(40503) + np.uint64(12345)) % np.uint64(2**32)
    h = (h ^ (h >> np.uint64(15))) * np.uint64(2246822519) % np.uint64(2**32)
    return torch.from_numpy((h.astype(np.float64) / 2**31 - 1.0).reshape(shape))


def conv(i, o, kernel, dilation=1):
    """Convolution of the same size, normalisation, rectifier."""
    padding = kernel // 2 * dilation
    return [nn.Conv2d(i, o, kernel, padding=padding, dilation=dilation, bias=False), nn.BatchNorm2d(o), nn.ReLU()]


def plain(i, o):
    return nn.Sequential(*conv(i, o, 3), *conv(o, o, 3))


class Residual(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.conv1, self.bn1, _ = conv(i, o, 3)
        self.conv2, self.bn2, _ = conv(o, o, 3)
        self.downsample = nn.Sequential(*conv(i, o, 1)[:2]) if i != o else nn.Identity()

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.downsample(x))


class Down(nn.Module):
    """Networks with a way down: the features of every level, fine to coarse."""

    def __init__(self, block, bands, width, depth):
        super().__init__()
        self.channels = [width << level for level in range(depth + 1)]
        self.down = nn.ModuleList(block(i, o) for i, o in zip([bands] + self.channels, self.channels))

    def levels(self, x):
        found = []
        for i, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if i else x)
            found.append(x)
        return found


class UNet(Down):
    def __init__(self, block, bands, classes, width, depth):
        super().__init__(block, bands, width, depth)
        fine = self.channels[-2::-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * c, c, 2, 2) for c in fine)
        self.merge = nn.ModuleList(block(2 * c, c) for c in fine)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        *skips, x = self.levels(x)
        for up, merge in zip(self.up, self.merge):
            x = merge(torch.cat([skips.pop(), up(x)], 1))
        return self.head(x)


class Mlp(nn.Module):
    def __init__(self, bands, classes, width, depth):
        super().__init__()
        self.layers = nn.Sequential(*(layer for i in range(depth) for layer in conv(width if i else bands, width, 1)))
        self.head = nn.Conv2d(width if depth else bands, classes, 1)

    def forward(self, x):
        return self.head(self.layers(x))


class Fpn(Down):
    def __init__(self, block, bands, classes, width, depth, pyramid):
        super().__init__(block, bands, width, depth)
        self.lateral = nn.ModuleList(nn.Conv2d(c, pyramid, 1) for c in self.channels)
        self.smooth = nn.ModuleList(nn.Sequential(*conv(pyramid, pyramid, 3)) for _ in self.channels)
        self.head = nn.Conv2d(pyramid, classes, 1)

    def forward(self, x):
        merged = [lateral(c) for lateral, c in zip(self.lateral, self.levels(x))]
        for i in reversed(range(len(merged) - 1)):
            merged[i] = merged[i] + F.interpolate(merged[i + 1], scale_factor=2, mode="nearest")
        parts = (smooth(p) for smooth, p in zip(self.smooth, merged))
        stretched = (F.interpolate(p, x.shape[2:], mode="bilinear", align_corners=False) for p in parts)
        return self.head(sum(stretched))


class Aspp(nn.Module):
    def __init__(self, i, o, rates):
        super().__init__()
        dilated = (nn.Sequential(*conv(i, o, 3, rate)) for rate in rates)
        self.convs = nn.ModuleList([nn.Sequential(*conv(i, o, 1)), *dilated])
        self.pool = nn.Conv2d(i, o, 1)
        self.project = nn.Sequential(*conv((len(rates) + 2) * o, o, 1))

    def forward(self, x):
        whole = F.relu(self.pool(F.adaptive_avg_pool2d(x, 1)))
        branches = [conv(x) for conv in self.convs] + [whole.expand(-1, -1, *x.shape[2:])]
        return self.project(torch.cat(branches, 1))


class DeepLab(Down):
    def __init__(self, block, bands, classes, width, depth, rates, aspp):
        super().__init__(block, bands, width, depth)
        self.aspp = Aspp(self.channels[-1], aspp, rates)
        self.low = nn.Sequential(*conv(width, width, 1))
        self.decode = plain(width + aspp, 2 * width)
        self.head = nn.Conv2d(2 * width, classes, 1)

    def forward(self, x):
        fine, *_, coarse = self.levels(x)
        context = F.interpolate(self.aspp(coarse), x.shape[2:], mode="bilinear", align_corners=False)
        return self.head(self.decode(torch.cat([self.low(fine), context], 1)))


def net(prefix, model, size):
    with torch.no_grad():
        for i, (_, p) in enumerate(sorted(model.named_parameters())):
            fan = p[0].numel() if p.dim() > 1 else 1
            p.copy_(fill(100 + i, *p.shape) * (1.7 / fan**0.5) + (1.0 if p.dim() == 1 else 0.0))
    x = fill(1, 2, size, size, 3).permute(0, 3, 1, 2)
    target = (fill(4, 2, size, size) * 2.5 + 2.5).floor().clamp(0, 4).long()
    target[:, :2] = 255
    logits = model(x)
    loss = F.cross_entropy(logits, target, ignore_index=255)
    loss.backward()
    every = lambda y: y.permute(0, 2, 3, 1)[:, ::4, ::4]
    out = {"train_logits": every(logits), "loss": loss.reshape(1)}
    for name, p in model.named_parameters():
        out[f"grad.{name}"] = torch.stack([(p.grad * fill(7, *p.shape)).sum(), p.grad.norm()])
    for name, b in model.named_buffers():
        if "running" in name:
            out[f"buffer.{name}"] = b
    model.eval()
    out["eval_logits"] = every(model(x))
    return {f"{prefix}.{k}": v.detach().float().contiguous().numpy() for k, v in out.items()}


values = {}
for prefix, model, size in [
    ("unet_residual", UNet(Residual, 3, 5, 3, 2), 16),
    ("mlp", Mlp(3, 5, 7, 2), 16),
    ("mlp_0", Mlp(3, 5, 7, 0), 16),
    ("fpn", Fpn(plain, 3, 5, 3, 3, 5), 24),
    ("fpn_residual", Fpn(Residual, 3, 5, 4, 1, 4), 16),
    ("deeplab", DeepLab(plain, 3, 5, 3, 2, (1, 2, 5), 4), 20),
    ("deeplab_residual", DeepLab(Residual, 3, 5, 3, 1, (2, 4, 8), 4), 16),
]:
    values.update(net(prefix, model, size))
save_file(values, HERE / "net_models.safetensors")
