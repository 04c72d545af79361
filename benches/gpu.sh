#!/usr/bin/env bash
# Every check and every timing on a GPU, in one go, with programs that were built elsewhere.
#
#     benches/gpu.sh pack FOLDER      where they were built: lays them into FOLDER, stripped and compressed
#     benches/gpu.sh run FOLDER       where the GPU is: checks, times beside PyTorch, prints tables; builds nothing
#
# What to build before packing:
#     cargo build --release --features cuda --bin s2pipe --example gpu_step
#     cargo test --release --features cuda --no-run --test cuda_ops --test cuda_losses --test cuda_training --test cuda_predict
#
# PYTHON=python3 (with torch, for the comparison; left out, with a line that says so, where there is none), ROUNDS=3,
# SCENES=DIR with full-size scenes for the whole job (left out where not given). LD_LIBRARY_PATH or S2PIPE_CUDA_LIBRARIES must lead
# to cuBLAS, cuRAND and cuDNN; those in the Python package of torch are found by themselves.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ $# = 2 ] || { sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
mkdir -p "$2"
folder=$(cd "$2" && pwd)
tests=(cuda_ops cuda_losses cuda_training cuda_predict)

newest() { ls -t "$here"/target/release/deps/"$1"-* | grep -v '\.d$' | head -n 1; }

pack() {
  cp "$here/target/release/s2pipe" "$here/target/release/examples/gpu_step" "$folder/"
  for test in "${tests[@]}"; do cp "$(newest "$test")" "$folder/$test"; done
  cd "$folder"
  strip s2pipe gpu_step "${tests[@]}"
  gzip -9 -f s2pipe gpu_step "${tests[@]}"
  ls -l "$folder"
}

# The libraries that come with torch, unless the caller named some.
find_libraries() {
  [ -z "${S2PIPE_CUDA_LIBRARIES:-}" ] || return 0
  local found
  found=$("$python" - 2>/dev/null <<'PYTHON' || true
import pathlib, sysconfig
site = pathlib.Path(sysconfig.get_paths()["purelib"]) / "nvidia"
print(":".join(str(p) for p in sorted(site.glob("*/lib"))))
PYTHON
  )
  [ -z "$found" ] || export S2PIPE_CUDA_LIBRARIES=$found LD_LIBRARY_PATH="$found${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
}

check() {
  echo "== checks"
  for test in "${tests[@]}"; do
    if "$work/$test" >"$work/$test.log" 2>&1; then
      echo "$test: $(grep -h '^test result' "$work/$test.log")"
      grep -h 'not tested' "$work/$test.log" | sort -u || true
    else
      echo "$test: FAILED"
      grep -hE '^test .*FAILED|panicked|^---- ' -A 3 "$work/$test.log" | head -n 40
    fi
  done
}

ours() { "$work/gpu_step" "$@" 2>&1 | tail -n 1; }
theirs() { "$python" "$here/benches/unet.py" "$@" 2>&1 | tail -n 1; }

time_steps() {
  echo "== a step, beside PyTorch"
  local torch=yes
  "$python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null || torch=
  [ -n "$torch" ] || echo "no PyTorch that sees the GPU: only ours is timed"
  echo "limits s2pipe $(ours limits)" >>"$work/runs"
  for _ in $(seq "$rounds"); do
    for what in train predict; do
      for point in "32 32 128" "64 32 256" "64 16 512"; do
        read -r w b s <<<"$point"
        local shape=("$what" --width "$w" --batch "$b" --size "$s")
        for precision in bf16 tf32 f32; do
          echo "$what-$w-$b-$s s2pipe-$precision $(ours "${shape[@]}" --precision "$precision" --steps 64)" >>"$work/runs"
        done
        echo "$what-$w-$b-$s s2pipe-bf16-deterministic $(ours "${shape[@]}" --precision bf16 --deterministic 1 --steps 64)" >>"$work/runs"
        [ -n "$torch" ] || continue
        for options in "" "--amp" "--compile" "--amp --compile"; do
          # shellcheck disable=SC2086
          echo "$what-$w-$b-$s torch${options// /} $(theirs "${shape[@]}" --device cuda --steps 30 $options)" >>"$work/runs"
        done
      done
    done
  done
  "$python" "$here/benches/gpu_table.py" "$work/runs"
}

whole_job() {
  echo "== the whole job"
  if [ -z "${SCENES:-}" ]; then
    echo "left out: SCENES names no folder with full-size scenes"
    return
  fi
  mkdir -p "$work/job" && cp -r "$SCENES" "$work/job/dset-s2-grunnkart" && cp -r "$here/pipelines" "$work/job/"
  (cd "$work/job" && time "$work/s2pipe" run pipelines/landcover.yaml --device cuda)
}

run() {
  python=${PYTHON:-python3} rounds=${ROUNDS:-3}
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  for program in s2pipe gpu_step "${tests[@]}"; do
    gzip -dc "$folder/$program.gz" >"$work/$program" && chmod +x "$work/$program"
  done
  find_libraries
  "$work/s2pipe" info
  check
  time_steps
  whole_job
}

case $1 in
  pack | run) "$1" ;;
  *) echo "gpu.sh: pack or run, not $1" >&2; exit 2 ;;
esac
