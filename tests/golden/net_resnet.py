#!/usr/bin/env python3
"""Golden values of small networks that go down by a ResNet, from PyTorch and torchvision in float64.

    python tests/golden/net_resnet.py          (needs torch, torchvision, numpy, safetensors)

The encoder is torchvision's `ResNet` of `BasicBlock`s, only narrower and shallower. What is kept, and how parameters and
inputs come about, is as in net_models.py; it goes into net_resnet.safetensors beside this file.
"""
import pathlib

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.numpy import save_file
from torchvision.models.resnet import BasicBlock, ResNet

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
HERE = pathlib.Path(__file__).parent
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


def fill(seed, *shape):
    """As in net_ops.py."""
    i = np.arange(int(np.prod(shape)), dtype=np.uint64)
    h = (i * np.uint64(2654435761) + np.uint64(seed) * np.uint64(40503) + np.uint64(12345)) % np.uint64(2**32)
    h = (h ^ (h >> np.uint64(15))) * np.uint64(2246822519) % np.uint64(2**32)
    return torch.from_numpy((h.astype(np.float64) / 2**31 - 1.0).reshape(shape))


def conv(i, o, kernel, dilation=1):
    """Convolution of the same size, normalisation, rectifier."""
    padding = kernel // 2 * dilation
    return nn.Sequential(
        nn.Conv2d(i, o, kernel, padding=padding, dilation=dilation, bias=False), nn.BatchNorm2d(o), nn.ReLU()
    )


def double(i, o):
    return nn.Sequential(*conv(i, o, 3), *conv(o, o, 3))


class Narrow(ResNet):
    """torchvision's network with `width` channels in its first convolution, up to the layer that makes `depth` halvings."""

    def __init__(self, name, bands, width, depth):
        nn.Module.__init__(self)
        # What the methods of the class find in it, 64 being what a basic block insists on.
        self._norm_layer, self.dilation, self.groups, self.base_width = nn.BatchNorm2d, 1, 1, 64
        self.inplanes, self.depth = width, depth
        self.conv1 = nn.Conv2d(bands, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        for level, blocks in zip(range(depth - 1), BLOCKS[name]):
            layer = self._make_layer(BasicBlock, width << level, blocks, stride=2 if level else 1)
            setattr(self, f"layer{level + 1}", layer)
        self.channels = [width << max(level - 1, 0) for level in range(depth)]

    def forward(self, x):
        levels = [F.relu(self.bn1(self.conv1(x)))]
        for level in range(1, self.depth):
            x = F.max_pool2d(levels[0], 3, stride=2, padding=1) if level == 1 else levels[-1]
            levels.append(getattr(self, f"layer{level}")(x))
        return levels


class Down(nn.Module):
    """The encoder, and two convolutions at full resolution beside it."""

    def __init__(self, name, width, depth):
        super().__init__()
        self.encoder = Narrow(name, 3, width, depth)
        self.channels = [max(width // 4, 1), *self.encoder.channels]
        self.fine = double(3, self.channels[0])

    def levels(self, x):
        return [self.fine(x), *self.encoder(x)]


class UNet(Down):
    def __init__(self, name, width, depth):
        super().__init__(name, width, depth)
        pairs = list(zip(self.channels, self.channels[1:]))[::-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(below, c, 2, 2) for c, below in pairs)
        self.merge = nn.ModuleList(double(2 * c, c) for c, _ in pairs)
        self.head = nn.Conv2d(self.channels[0], 5, 1)

    def forward(self, x):
        *skips, x = self.levels(x)
        for up, merge in zip(self.up, self.merge):
            x = merge(torch.cat([skips.pop(), up(x)], 1))
        return self.head(x)


class Fpn(Down):
    def __init__(self, name, width, depth, pyramid):
        super().__init__(name, width, depth)
        self.lateral = nn.ModuleList(nn.Conv2d(c, pyramid, 1) for c in self.channels)
        self.smooth = nn.ModuleList(conv(pyramid, pyramid, 3) for _ in self.channels)
        self.head = nn.Conv2d(pyramid, 5, 1)

    def forward(self, x):
        above, total = 0, 0
        for lateral, smooth, level in list(zip(self.lateral, self.smooth, self.levels(x)))[::-1]:
            above = lateral(level) + above
            total = total + F.interpolate(smooth(above), x.shape[2:], mode="bilinear", align_corners=False)
            above = F.interpolate(above, scale_factor=2, mode="nearest")
        return self.head(total)


class DeepLab(Down):
    def __init__(self, name, width, depth, rates, aspp):
        super().__init__(name, width, depth)
        i, fine = self.channels[-1], self.channels[0]
        self.aspp = nn.ModuleDict({
            "convs": nn.ModuleList([conv(i, aspp, 1), *(conv(i, aspp, 3, rate) for rate in rates)]),
            "pool": nn.Conv2d(i, aspp, 1),
            "project": conv(5 * aspp, aspp, 1),
        })
        self.low = conv(fine, fine, 1)
        self.decode = double(fine + aspp, 2 * fine)
        self.head = nn.Conv2d(2 * fine, 5, 1)

    def forward(self, x):
        fine, *_, coarse = self.levels(x)
        whole = F.relu(self.aspp["pool"](coarse.mean((2, 3), keepdim=True))).expand(-1, -1, *coarse.shape[2:])
        joined = torch.cat([*(branch(coarse) for branch in self.aspp["convs"]), whole], 1)
        context = F.interpolate(self.aspp["project"](joined), x.shape[2:], mode="bilinear", align_corners=False)
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


def pooled():
    """The 3x3 maximum of odd sides and many ties, and its gradient given `fill(99)`."""
    out = {}
    for name, shape in [("odd", (2, 5, 7, 3)), ("even", (1, 6, 4, 2)), ("one", (1, 1, 1, 2))]:
        x = (fill(1, *shape) * 3).round().requires_grad_()
        y = F.max_pool2d(x.permute(0, 3, 1, 2), 3, stride=2, padding=1).permute(0, 2, 3, 1)
        (y * fill(99, *y.shape)).sum().backward()
        out |= {f"max_pool3x3_{name}.y": y.detach().contiguous().numpy(), f"max_pool3x3_{name}.dx": x.grad.numpy()}
    return out


values = pooled()
for prefix, model, size in [
    ("unet_resnet18", UNet(18, 8, 3), 24),
    ("unet_resnet18_shallow", UNet(18, 3, 1), 16),
    ("unet_resnet18_whole", UNet(18, 4, 5), 96),
    ("fpn_resnet34", Fpn(34, 4, 3, 5), 24),
    ("deeplab_resnet18", DeepLab(18, 8, 2, (1, 2, 3), 4), 20),
]:
    values.update(net(prefix, model, size))
save_file(values, HERE / "net_resnet.safetensors")
