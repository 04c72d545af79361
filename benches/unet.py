#!/usr/bin/env python3
"""The other side of `examples/unet_step`: the same network in PyTorch, or in ONNX Runtime, with the same options.

    benches/unet.py train   --width 16 --batch 8 --size 128 --steps 7 --threads 2
    benches/unet.py predict --width 16 --batch 8 --size 128 --steps 7 --threads 2 [--onnx]

    benches/unet.py train   --width 32 --batch 32 --size 128 --steps 30 --device cuda [--amp] [--compile]

prints one JSON line with the same fields. Channels-last (which is the faster layout in PyTorch), float32 or, with --amp,
bfloat16 where PyTorch's autocast takes it. A training step is forward, cross-entropy, backward and AdamW; prediction ends with
the class of each pixel. On a GPU cuDNN may try its algorithms, AdamW is the fused one, and every step is waited for. Needs torch,
numpy and, for --onnx, onnx and onnxruntime.
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
options.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
options.add_argument("--amp", action="store_true")
options.add_argument("--compile", action="store_true")
options = options.parse_args()
on_gpu = options.device == "cuda"
torch.backends.cudnn.benchmark = True
torch.set_num_threads(options.threads)
torch.manual_seed(1)
net = UNet(options.bands, options.classes, options.width, options.depth).to(options.device)
x = torch.randn(options.batch, options.bands, options.size, options.size, device=options.device)
y = torch.randint(0, options.classes, (options.batch, options.size, options.size), device=options.device)
autocast = torch.autocast(options.device, dtype=torch.bfloat16, enabled=options.amp)


def forward():
    return torch.compile(net) if options.compile else net


def torch_train():
    net.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=on_gpu)
    batch = x.to(memory_format=torch.channels_last)
    run = forward()

    def step():
        with autocast:
            loss = F.cross_entropy(run(batch), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def torch_predict():
    net.eval().to(memory_format=torch.channels_last)
    batch = x.to(memory_format=torch.channels_last)
    run = forward()

    def step():
        with torch.no_grad(), autocast:
            run(batch).argmax(1)

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
    if on_gpu:
        torch.cuda.synchronize()
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
