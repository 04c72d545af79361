#!/usr/bin/env python3
"""The other side of `examples/unet_step`: the same network in PyTorch, or in ONNX Runtime, with the same options.

    benches/unet.py train   --width 16 --batch 8 --size 128 --steps 7 --threads 2
    benches/unet.py predict --width 16 --batch 8 --size 128 --steps 7 --threads 2 [--onnx]

prints one JSON line with the same fields. Channels-last (which is the faster layout in PyTorch), float32, CPU. A training
step is forward, cross-entropy, backward and AdamW; prediction ends with the class of each pixel. Needs torch, numpy and,
for --onnx, onnx and onnxruntime.
"""
import argparse
import json
import pathlib
import resource
import statistics
import sys
import tempfile
import time

import torch
import torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "examples"))
from pytorch_unet import UNet  # noqa: E402

options = argparse.ArgumentParser()
options.add_argument("what", choices=["train", "predict"])
for name, value in dict(width=16, depth=4, batch=8, size=128, steps=10, threads=2, bands=6, classes=6).items():
    options.add_argument(f"--{name}", type=int, default=value)
options.add_argument("--onnx", action="store_true")
options = options.parse_args()
torch.set_num_threads(options.threads)
torch.manual_seed(1)
net = UNet(options.bands, options.classes, options.width, options.depth)
x = torch.randn(options.batch, options.bands, options.size, options.size)
y = torch.randint(0, options.classes, (options.batch, options.size, options.size))


def torch_train():
    net.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    batch = x.to(memory_format=torch.channels_last)

    def step():
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(net(batch), y).backward()
        optimizer.step()

    return step


def torch_predict():
    net.eval().to(memory_format=torch.channels_last)
    batch = x.to(memory_format=torch.channels_last)

    def step():
        with torch.no_grad():
            net(batch).argmax(1)

    return step


def onnx_predict():
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/unet.onnx"
        torch.onnx.export(net.eval(), (x,), path, dynamo=False)
        session_options = onnxruntime.SessionOptions()
        session_options.intra_op_num_threads = options.threads
        session = onnxruntime.InferenceSession(path, session_options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x.numpy()}
    return lambda: session.run(None, feed)[0].argmax(1)


step = torch_train() if options.what == "train" else onnx_predict() if options.onnx else torch_predict()
seconds = []
for i in range(options.steps + 3):
    start = time.perf_counter()
    step()
    if i >= 3:
        seconds.append(time.perf_counter() - start)
median = statistics.median(seconds)
line = dict(
    what=options.what,
    seconds=round(median, 6),
    min=round(min(seconds), 6),
    pixels_per_second=round(options.batch * options.size**2 / median),
    peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
)
print(json.dumps(line))
