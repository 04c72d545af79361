#!/usr/bin/env python3
"""The table of `benches/gpu.sh`, from lines `POINT SIDE JSON`: medians over the rounds, and ours over PyTorch's best."""
import json
import statistics
import sys

seconds, failed, limits = {}, [], {}
for line in open(sys.argv[1]):
    point, side, record = line.rstrip("\n").split(" ", 2)
    try:
        record = json.loads(record)
        if point == "limits":
            limits = record
        else:
            seconds.setdefault(point, {}).setdefault(side, []).append(record["seconds"])
    except (json.JSONDecodeError, KeyError):
        failed.append(f"{point} {side}: {str(record)[:200]}")


def gigaflop(what, width, batch, size):
    """Of the network's definition: depth 4, 6 bands, 6 classes; a training step is three forward passes."""
    pixels, total, channels = size * size, 0, 6
    for level in range(5):
        out, there = width << level, pixels >> (2 * level)
        total += 2 * 9 * (channels * out + out * out) * there
        channels = out
    for level in reversed(range(4)):
        out, there = width << level, pixels >> (2 * level)
        total += 2 * (2 * out) * out * there + 2 * 9 * (2 * out * out + out * out) * there
    total += 2 * width * 6 * pixels
    return total * batch * (3 if what == "train" else 1) / 1e9


product = limits.get("bf16_tflops")
if product:
    print(f"a product of large bf16 matrices: {product:.0f} TFLOP/s; a copy: {limits['copy_gbps']:.0f} GB/s read and written")
print(f"{'what':8} {'W':>3} {'B':>3} {'S':>4}  {'side':28} {'ms':>9} {'TFLOP/s':>8} {'of the product':>14}  of PyTorch's best")
for point, sides in seconds.items():
    what, w, b, s = point.split("-")
    median = {side: statistics.median(values) for side, values in sides.items()}
    best = min((value for side, value in median.items() if side.startswith("torch")), default=None)
    work = gigaflop(what, int(w), int(b), int(s))
    for side, value in sorted(median.items(), key=lambda item: item[1]):
        ratio = f"{value / best:.2f}" if best else ""
        share = f"{work / value / 1e3 / product:.0%}" if product else ""
        print(f"{what:8} {w:>3} {b:>3} {s:>4}  {side:28} {value * 1e3:9.3f} {work / value / 1e3:8.1f} {share:>14}  {ratio}")
for line in failed:
    print("FAILED", line)
