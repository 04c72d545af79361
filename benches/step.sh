#!/usr/bin/env bash
# A training step and a prediction of the U-Net, ours and PyTorch's, in turn, so that both see the same machine.
#
#     cargo build --release --example unet_step
#     benches/step.sh TORCH_UNET.PY [ROUNDS]      PYTHON=python3 THREADS=2
#
# TORCH_UNET.PY takes the same options as our example and prints the same JSON line. Each row has the median over the
# rounds of the median step, in seconds, and the ratio ours/PyTorch.
set -euo pipefail
torch=${1:?usage: benches/step.sh TORCH_UNET.PY [ROUNDS]}
rounds=${2:-3}
python=${PYTHON:-python3}
threads=${THREADS:-2}
ours=$(dirname "$0")/../target/release/examples/unet_step
seconds() { "$python" -c 'import json,sys; print(json.loads(sys.stdin.readlines()[-1])["seconds"])'; }
median() { sort -g | awk '{v[NR]=$1} END {print v[int((NR+1)/2)]}'; }
printf '%-8s %4s %4s %5s %10s %10s %6s\n' what W B S ours torch ratio
for what in train predict; do
  for point in "16 8 128" "24 16 128" "32 8 128" "32 4 256"; do
    read -r w b s <<<"$point"
    options=(--width "$w" --batch "$b" --size "$s" --steps 7 --threads "$threads")
    a=() t=()
    for _ in $(seq "$rounds"); do
      a+=("$("$ours" "$what" "${options[@]}" | seconds)")
      t+=("$("$python" "$torch" "$what" "${options[@]}" | seconds)")
    done
    a=$(printf '%s\n' "${a[@]}" | median) t=$(printf '%s\n' "${t[@]}" | median)
    printf '%-8s %4s %4s %5s %10.4f %10.4f %6.2f\n' "$what" "$w" "$b" "$s" "$a" "$t" "$(awk "BEGIN{print $a/$t}")"
  done
done
