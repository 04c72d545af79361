#!/usr/bin/env bash
# A training step and a prediction of the U-Net: ours, PyTorch's and, for prediction, ONNX Runtime's, in turn, so that all
# see the same machine.
#
#     pip install torch numpy onnx onnxruntime
#     cargo build --release --example unet_step
#     benches/step.sh [ROUNDS]                    PYTHON=python3 THREADS=2
#
# Each row has the medians over the rounds of the median step, in seconds, the ratios ours/theirs, and peak memory in MB.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-3}
python=${PYTHON:-python3}
threads=${THREADS:-2}
runs=$(mktemp)
trap 'rm -f "$runs"' EXIT
run() { printf '%s %s ' "$1" "$2" >>"$runs" && shift 2 && "$@" 2>/dev/null | tail -n 1 >>"$runs"; }
for _ in $(seq "$rounds"); do
  for what in train predict; do
    for point in "16 8 128" "24 16 128" "32 8 128" "32 4 256"; do
      read -r w b s <<<"$point"
      options=("$what" --width "$w" --batch "$b" --size "$s" --steps 7 --threads "$threads")
      run "$what-$w-$b-$s" ours ./target/release/examples/unet_step "${options[@]}"
      run "$what-$w-$b-$s" torch "$python" benches/unet.py "${options[@]}"
      [ "$what" = train ] || run "$what-$w-$b-$s" onnx "$python" benches/unet.py "${options[@]}" --onnx
    done
  done
done
"$python" - "$runs" <<'PYTHON'
import json, math, statistics, sys

seconds, memory = {}, {}
for line in open(sys.argv[1]):
    point, side, record = line.split(" ", 2)
    record = json.loads(record)
    seconds.setdefault(point, {}).setdefault(side, []).append(record["seconds"])
    memory.setdefault(point, {}).setdefault(side, []).append(record["peak_rss_mb"])
print(f"{'what':8} {'W':>3} {'B':>3} {'S':>4} {'ours':>8} {'torch':>8} {'onnx':>8} {'/torch':>7} {'/onnx':>7}  memory, MB")
means = {}
for point, sides in seconds.items():
    what, w, b, s = point.split("-")
    median = {side: statistics.median(values) for side, values in sides.items()}
    ratio = {side: median["ours"] / median[side] for side in median}
    means.setdefault(what, []).append(math.log(ratio["torch"]))
    cell = lambda values, side, width, digits: f"{values[side]:{width}.{digits}f}" if side in values else " " * width
    print(f"{what:8} {w:>3} {b:>3} {s:>4} {median['ours']:8.4f} {median['torch']:8.4f} {cell(median, 'onnx', 8, 4)}"
          f" {ratio['torch']:7.2f} {cell(ratio, 'onnx', 7, 2)}  "
          + " / ".join(str(max(memory[point][side])) for side in median))
for what, logs in means.items():
    print(f"{what}: geometric mean of ours/torch {math.exp(statistics.mean(logs)):.2f}")
PYTHON
