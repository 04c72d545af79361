#!/usr/bin/env python3
"""Golden values of the network's operators and of two small U-Nets, from PyTorch in float64.

    python tests/golden/net_ops.py          (needs torch, numpy, safetensors)

Inputs are not stored: `fill` here and in `tests/net_golden.rs` make the same numbers from a formula. Outputs and gradients
go to net_ops.safetensors and net_unet.safetensors beside this file, images channels-last, weights in PyTorch's order.
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
    """Numbers in -1..1 that look random: a multiplicative hash of the index."""
    i = np.arange(int(np.prod(shape)), dtype=np.uint64)
    h = (i * np.uint64(2654435761) + np.uint64(seed) * np.uint64(40503) + np.uint64(12345)) % np.uint64(2**32)
    h = (h ^ (h >> np.uint64(15))) * np.uint64(2246822519) % np.uint64(2**32)
    return torch.from_numpy((h.astype(np.float64) / 2**31 - 1.0).reshape(shape))


def leaf(t):
    return t.detach().clone().requires_grad_(True)


def nchw(t):
    return t.permute(0, 3, 1, 2)


def nhwc(t):
    return t.permute(0, 2, 3, 1)


ops = {}


def record(name, y, leaves):
    """The output and the gradients of sum(y * fill(99))."""
    ops[f"{name}.y"] = y
    (y * fill(99, *y.shape)).sum().backward()
    for key, t in leaves.items():
        ops[f"{name}.d{key}"] = t.grad


for name, (n, h, w, ci, co, k, stride, pad) in {
    "conv3x3": (2, 5, 7, 3, 4, 3, 1, 1),
    "conv3x3_one": (1, 1, 1, 1, 1, 3, 1, 1),
    "conv3x3_stride2": (2, 7, 6, 3, 4, 3, 2, 1),
    "conv5x5": (1, 6, 5, 2, 3, 5, 1, 2),
    "conv1x1": (2, 3, 5, 5, 6, 1, 1, 0),
}.items():
    x, wt, b = leaf(fill(1, n, h, w, ci)), leaf(fill(2, co, ci, k, k)), leaf(fill(3, co))
    record(name, nhwc(F.conv2d(nchw(x), wt, b, stride, pad)), dict(x=x, w=wt, b=b))

for name, (n, h, w, ci, co, k, stride, pad, dilation, groups) in {
    "conv_dilated": (1, 7, 6, 2, 3, 3, 1, 2, 2, 1),
    "conv_dilated_stride2": (1, 8, 7, 2, 2, 3, 2, 3, 3, 1),
    "conv_grouped": (1, 4, 5, 4, 6, 3, 1, 1, 1, 2),
    "conv_grouped_dilated_stride2": (1, 7, 6, 6, 3, 3, 2, 2, 2, 3),
    "conv_depthwise": (2, 4, 3, 9, 9, 3, 1, 1, 1, 9),
    "conv_depthwise_dilated_stride2": (1, 7, 6, 3, 6, 3, 2, 2, 2, 3),
}.items():
    x, wt, b = leaf(fill(1, n, h, w, ci)), leaf(fill(2, co, ci // groups, k, k)), leaf(fill(3, co))
    record(name, nhwc(F.conv2d(nchw(x), wt, b, stride, pad, dilation, groups)), dict(x=x, w=wt, b=b))

x, wt, b = leaf(fill(1, 2, 3, 5, 4)), leaf(fill(2, 4, 3, 2, 2)), leaf(fill(3, 3))
record("conv_transpose", nhwc(F.conv_transpose2d(nchw(x), wt, b, 2)), dict(x=x, w=wt, b=b))

x = leaf((fill(1, 2, 5, 7, 3) * 3).round())  # many ties
record("max_pool", nhwc(F.max_pool2d(nchw(x), 2)), dict(x=x))

x = leaf(fill(1, 2, 3, 4, 3))
record("upsample", nhwc(F.interpolate(nchw(x), scale_factor=2, mode="nearest")), dict(x=x))

for name, (h, w, height, width) in {
    "double": (3, 4, 6, 8),
    "odd": (3, 5, 8, 7),
    "smaller": (5, 7, 3, 2),
    "one": (1, 3, 4, 1),
    "same": (3, 2, 3, 2),
}.items():
    for corners in (False, True):
        x = leaf(fill(1, 1, h, w, 2))
        y = F.interpolate(nchw(x), (height, width), mode="bilinear", align_corners=corners)
        record(f"bilinear_{name}_corners" if corners else f"bilinear_{name}", nhwc(y), dict(x=x))

x = leaf(torch.cat([fill(1, 40) * 8, torch.tensor([0.0, -0.0, 1e-9, -1e-300, 6.5, -6.5, 40.0, -40.0])]))
record("gelu", F.gelu(x), dict(x=x))

for name, (n, h, w, c, groups, relu) in {
    "group_norm": (2, 3, 4, 6, 3, False),
    "group_norm_relu": (2, 3, 4, 6, 2, True),
    "group_norm_whole": (1, 2, 3, 5, 1, False),
}.items():
    x, g, b = leaf(fill(1, n, h, w, c) * 3 + 10), leaf(fill(2, c)), leaf(fill(3, c))
    y = F.group_norm(nchw(x), groups, g, b, 1e-5)
    record(name, nhwc(F.relu(y) if relu else y), dict(x=x, g=g, b=b))

for relu in (False, True):
    x, g, b = leaf(fill(1, 2, 5, 3, 4) * 3 + 10), leaf(fill(2, 4)), leaf(fill(3, 4))
    mean, var = torch.zeros(4), torch.ones(4)
    y = F.batch_norm(nchw(x), mean, var, g, b, training=True, momentum=0.1, eps=1e-5)
    record("batch_norm_relu" if relu else "batch_norm", nhwc(F.relu(y) if relu else y), dict(x=x, g=g, b=b))
    ops["batch_norm.running_mean"], ops["batch_norm.running_var"] = mean, var

target = (fill(4, 2, 3, 5) * 3 + 3).floor().clamp(0, 5).long()
target[0, 1] = 255
weight = fill(5, 6).abs()
for name, (wt, smoothing) in {"plain": (None, 0.0), "weights": (weight, 0.0), "smoothing": (None, 0.1), "both": (weight, 0.2)}.items():
    x = leaf(fill(1, 2, 3, 5, 6) * 4)
    loss = F.cross_entropy(nchw(x), target, weight=wt, ignore_index=255, label_smoothing=smoothing)
    loss.backward()
    ops[f"cross_entropy_{name}.y"], ops[f"cross_entropy_{name}.dx"] = loss.detach().reshape(1), x.grad


def labelled_probabilities(x):
    """Softmax rows of the labelled pixels, and whether a pixel is of a class."""
    labelled = target.flatten() != 255
    p = F.softmax(x, -1).reshape(-1, x.shape[-1])[labelled]
    return p, target.flatten()[labelled][:, None] == torch.arange(x.shape[-1])


def dice(x, weight, smooth):
    p, g = labelled_probabilities(x)
    loss = 1 - (2 * (p * g).sum(0) + smooth) / (p.sum(0) + g.sum(0) + smooth)
    weight = weight * g.any(0)
    return (weight * loss).sum() / weight.sum()


def lovasz(x):
    """`lovasz_softmax` of Berman's code, classes="present", per_image=False."""
    p, g = labelled_probabilities(x)
    losses = []
    for c in range(x.shape[-1]):
        fg = g[:, c].double()
        if fg.sum() == 0:
            continue
        errors, order = (fg - p[:, c]).abs().sort(0, descending=True)
        fg = fg[order]
        jaccard = 1 - (fg.sum() - fg.cumsum(0)) / (fg.sum() + (1 - fg).cumsum(0))
        jaccard[1:] = jaccard[1:] - jaccard[:-1]
        losses.append(errors @ jaccard)
    return torch.stack(losses).mean()


# Seven classes of logits, six of labels at most: the last never occurs.
ones, weight = torch.ones(7), fill(5, 7).abs()
for name, f in {
    "dice_plain": lambda x: dice(x, ones, 0.0),
    "dice_smooth": lambda x: dice(x, ones, 1.0),
    "dice_both": lambda x: dice(x, weight, 0.5),
    "lovasz": lovasz,
}.items():
    x = leaf(fill(1, 2, 3, 5, 7) * 4)
    loss = f(x)
    loss.backward()
    ops[f"{name}.y"], ops[f"{name}.dx"] = loss.detach().reshape(1), x.grad


def block(i, o):
    conv = lambda a, b: (nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
    return nn.Sequential(*conv(i, o), *conv(o, o))


class UNet(nn.Module):
    def __init__(self, bands, classes, width, depth):
        super().__init__()
        c = [width << level for level in range(depth + 1)]
        self.down = nn.ModuleList(block(i, o) for i, o in zip([bands] + c[:-1], c))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * o, o, 2, 2) for o in c[-2::-1])
        self.merge = nn.ModuleList(block(2 * o, o) for o in c[-2::-1])
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        skips = []
        for i, b in enumerate(self.down):
            x = b(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        skips.pop()
        for up, merge in zip(self.up, self.merge):
            x = merge(torch.cat([skips.pop(), up(x)], 1))
        return self.head(x)


def net(prefix, width, depth, size, whole):
    model = UNet(3, 5, width, depth)
    with torch.no_grad():
        for i, (_, p) in enumerate(sorted(model.named_parameters())):
            fan = p[0].numel() if p.dim() > 1 else 1
            p.copy_(fill(100 + i, *p.shape) * (1.7 / fan**0.5) + (1.0 if p.dim() == 1 else 0.0))
    x = fill(1, 2, size, size, 3)
    target = (fill(4, 2, size, size) * 2.5 + 2.5).floor().clamp(0, 4).long()
    target[:, :2] = 255
    logits = model(nchw(x))
    loss = F.cross_entropy(logits, target, ignore_index=255)
    loss.backward()
    step = 1 if whole else 4  # of large images every fourth pixel, to keep the file small
    out = {"train_logits": nhwc(logits)[:, ::step, ::step], "loss": loss.reshape(1)}
    for name, p in model.named_parameters():
        # The whole gradient of the small net; of the deep one its product with a fixed vector, and its norm.
        g = p.grad
        out[f"grad.{name}"] = g if whole else torch.stack([(g * fill(7, *g.shape)).sum(), g.norm()])
    for name, b in model.named_buffers():
        if "running" in name:
            out[f"buffer.{name}"] = b
    model.eval()
    out["eval_logits"] = nhwc(model(nchw(x)))[:, ::4, ::4]
    return {f"{prefix}.{k}": v.detach().float().contiguous().numpy() for k, v in out.items()}


save_file({k: v.detach().contiguous().numpy() for k, v in sorted(ops.items())}, HERE / "net_ops.safetensors")
save_file({**net("small", 4, 2, 16, True), **net("deep", 2, 4, 32, False)}, HERE / "net_unet.safetensors")
