#!/usr/bin/env python3
"""Golden values of small networks of every kind but the plain U-Net, from PyTorch in float64.

    python tests/golden/net_models.py          (needs torch, numpy, safetensors)

As net_ops.py does for the U-Net: parameters and inputs come from `fill`, and what is kept are logits, losses, gradients
(their product with a fixed vector, and their norm) and running statistics, in net_models.safetensors and, of SegFormer, in
net_segformer.safetensors beside this file.
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


class Norm(nn.LayerNorm):
    """Layer normalisation of channels-first images."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Attention(nn.Module):
    def __init__(self, c, heads, side):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.proj = (nn.Conv2d(c, c, 1) for _ in range(4))
        self.squares = side > 1
        if self.squares:
            self.reduce, self.norm = nn.Conv2d(c, c, side, side), Norm(c)

    def forward(self, x):
        seen = self.norm(self.reduce(x)) if self.squares else x
        cut = lambda y: y.unflatten(1, (self.heads, -1)).flatten(3).transpose(2, 3)
        y = F.scaled_dot_product_attention(cut(self.q(x)), cut(self.k(seen)), cut(self.v(seen)))
        return self.proj(y.transpose(2, 3).reshape(x.shape))


class MixFfn(nn.Module):
    def __init__(self, c, times):
        super().__init__()
        self.expand, self.shrink = nn.Conv2d(c, times * c, 1), nn.Conv2d(times * c, c, 1)
        self.depthwise = nn.Conv2d(times * c, times * c, 3, padding=1, groups=times * c)

    def forward(self, x):
        return self.shrink(F.gelu(self.depthwise(self.expand(x))))


class Transformer(nn.Module):
    def __init__(self, c, heads, side, ffn):
        super().__init__()
        self.norm1, self.attn, self.norm2, self.ffn = Norm(c), Attention(c, heads, side), Norm(c), MixFfn(c, ffn)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class SegFormer(nn.Module):
    class Stage(nn.Module):
        def __init__(self, i, o, blocks, *sizes):
            super().__init__()
            self.embed, self.embed_norm, self.norm = nn.Conv2d(i, o, 3, 2, 1), Norm(o), Norm(o)
            self.blocks = nn.Sequential(*(Transformer(o, *sizes) for _ in range(blocks)))

        def forward(self, x):
            return self.norm(self.blocks(self.embed_norm(self.embed(x))))

    def __init__(self, bands, classes, width, depth, blocks, heads, ffn, decoder):
        super().__init__()
        channels = [width << stage for stage in range(depth)]
        inputs = enumerate(zip([bands] + channels, channels))
        self.stages = nn.ModuleList(
            self.Stage(i, o, blocks, heads << stage, 1 << (depth - 1 - stage), ffn) for stage, (i, o) in inputs
        )
        self.lateral = nn.ModuleList(nn.Conv2d(c, decoder, 1) for c in channels)
        self.fuse = nn.Sequential(*conv(depth * decoder, decoder, 1))
        self.head = nn.Conv2d(decoder, classes, 1)

    def forward(self, x):
        stretch = lambda y, size: F.interpolate(y, size, mode="bilinear", align_corners=False)
        size, half, parts = x.shape[2:], [side // 2 for side in x.shape[2:]], []
        for stage, lateral in zip(self.stages, self.lateral):
            x = stage(x)
            parts.insert(0, stretch(lateral(x), half))
        return stretch(self.head(self.fuse(torch.cat(parts, 1))), size)


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


def record(file, *nets):
    values = {}
    for prefix, model, size in nets:
        values.update(net(prefix, model, size))
    save_file(values, HERE / file)


record(
    "net_models.safetensors",
    ("unet_residual", UNet(Residual, 3, 5, 3, 2), 16),
    ("mlp", Mlp(3, 5, 7, 2), 16),
    ("mlp_0", Mlp(3, 5, 7, 0), 16),
    ("fpn", Fpn(plain, 3, 5, 3, 3, 5), 24),
    ("fpn_residual", Fpn(Residual, 3, 5, 4, 1, 4), 16),
    ("deeplab", DeepLab(plain, 3, 5, 3, 2, (1, 2, 5), 4), 20),
    ("deeplab_residual", DeepLab(Residual, 3, 5, 3, 1, (2, 4, 8), 4), 16),
)
record(
    "net_segformer.safetensors",
    ("segformer", SegFormer(3, 5, 6, 3, 2, 2, 3, 5), 24),
    ("segformer_1", SegFormer(3, 5, 4, 1, 1, 1, 1, 4), 16),
)
