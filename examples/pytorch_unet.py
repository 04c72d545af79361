#!/usr/bin/env python3
"""The U-Net of `s2pipe` as a PyTorch module, which takes the weights that `s2pipe` trained as they are.

    python examples/pytorch_unet.py MODEL.safetensors LOGITS.safetensors [--onnx MODEL.onnx]

compares its logits with those that `cargo run --release --example logits` wrote, and fails where they differ by more than
1e-4 of the largest. `--onnx` exports the network for other runtimes. Needs torch and safetensors.

In a program of your own:

    from pytorch_unet import load
    net = load("cache/landcover/train/model/model.safetensors")
    logits = net((bands - mean) / std)          # mean and std per band: model.json, beside the weights
"""
import argparse
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F


def block(inputs, outputs):
    def convolve(i):
        return [nn.Conv2d(i, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]

    return nn.Sequential(*convolve(inputs), *convolve(outputs))


class Residual(nn.Module):
    """The block of `block: residual`."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv1, self.bn1, _, self.conv2, self.bn2, _ = block(inputs, outputs)
        around = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.downsample = nn.Identity() if inputs == outputs else around

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.downsample(x))


class UNet(nn.Module):
    """Images `[N, bands, H, W]`, both sides multiples of `2**depth`, to logits `[N, classes, H, W]`."""

    def __init__(self, bands, classes, width, depth, block=block):
        super().__init__()
        channels = [width << level for level in range(depth + 1)]
        fine_to_coarse = zip([bands] + channels[:-1], channels)
        self.down = nn.ModuleList(block(i, o) for i, o in fine_to_coarse)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * c, c, 2, stride=2) for c in reversed(channels[:-1]))
        self.merge = nn.ModuleList(block(2 * c, c) for c in reversed(channels[:-1]))
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        skips = []
        for level, down in enumerate(self.down):
            if level:
                skips.append(x)
                x = F.max_pool2d(x, 2)
            x = down(x)
        for up, merge in zip(self.up, self.merge):
            x = merge(torch.cat([skips.pop(), up(x)], dim=1))
        return self.head(x)


def load(path):
    """The network with the weights of a `model.safetensors`, for inference."""
    from safetensors.torch import load_file

    state = load_file(path)
    if "encoder.conv1.weight" in state:
        sys.exit(f"{path}: goes down by a ResNet; tests/golden/net_resnet.py has the modules of such networks")
    residual = "down.0.conv1.weight" in state
    first, head = state["down.0.conv1.weight" if residual else "down.0.0.weight"], state["head.weight"]
    depth = sum(name.startswith("up.") and name.endswith(".weight") for name in state)
    net = UNet(first.shape[1], head.shape[0], first.shape[0], depth, Residual if residual else block)
    missing, unknown = net.load_state_dict(state, strict=False)
    # PyTorch counts batches; nothing depends on it.
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unknown:
        sys.exit(f"{path}: not a U-Net of s2pipe: missing {missing}, unknown {unknown}")
    return net.eval()


def main():
    from safetensors.torch import load_file

    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("model")
    arguments.add_argument("logits")
    arguments.add_argument("--onnx")
    arguments = arguments.parse_args()
    net, ours = load(arguments.model), load_file(arguments.logits)
    bands = ours["bands"].permute(0, 3, 1, 2).contiguous()
    with torch.no_grad():
        theirs = net(bands).permute(0, 2, 3, 1)
    largest = theirs.abs().max().item()
    difference = (theirs - ours["logits"]).abs().max().item()
    print(f"largest logit {largest:.3f}, largest difference {difference:.2e}, of the largest {difference / largest:.1e}")
    if arguments.onnx:
        torch.onnx.export(net, (bands,), arguments.onnx, dynamo=False)
    sys.exit(0 if difference <= 1e-4 * max(largest, 1.0) else 1)


if __name__ == "__main__":
    main()
