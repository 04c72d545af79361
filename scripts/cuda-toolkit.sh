#!/usr/bin/env bash
# A CUDA 13.0 toolkit with cuDNN for building with `--features cuda`, made of pip packages, on a machine without one.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/cuda-toolkit.sh [--minimal] DIR

Installs a CUDA 13.0 toolkit with cuDNN 9 into DIR, and prints what a shell has to export to build with it:

  eval "$(scripts/cuda-toolkit.sh DIR)" && cargo build --release --features cuda

  --minimal   keeps the libraries' names only: enough to build with, 0.3 GB instead of 1.7 GB. Programs cannot run
              with what is left of the libraries.

A second call with the same DIR only prints. An installation that was interrupted is done again. Neither a GPU nor a driver
is needed to build. Running needs NVIDIA's driver, which no package brings, and libcublas, libcurand and libcudnn: without
--minimal they are in DIR, and the last line printed names their folders.

Needed: python3 with venv, gcc, nm, and 4 GB free in DIR while it installs.
TEXT
}

fail() {
  echo "cuda-toolkit.sh: $*" >&2
  exit 1
}

minimal=
case ${1-} in
  -h | --help)
    usage
    exit
    ;;
  --minimal)
    minimal=yes
    shift
    ;;
esac
if [ $# != 1 ] || [ "${1#-}" != "$1" ]; then
  usage >&2
  exit 2
fi
for tool in python3 gcc nm awk; do
  command -v "$tool" >/dev/null || fail "$tool is not installed"
done
mkdir -p "$1"
dir=$(cd "$1" && pwd)
done_mark=$dir/installed

# A shared library that has the names read from the input and nothing behind them.
#   names_only FILE SONAME
names_only() {
  local text
  text=$(mktemp)
  {
    echo .text
    awk '{printf ".globl %s\n.type %s, %%function\n%s:\n", $1, $1, $1}'
    # Called all the same, it should stop there.
    case $(uname -m) in x86_64) echo ud2 ;; *) echo .inst 0 ;; esac
    echo '.section .note.GNU-stack,"",%progbits'
  } >"$text"
  rm -f "$1"
  gcc -shared -nostdlib -Wl,-soname,"$2" -o "$1" -x assembler "$text"
  rm -f "$text"
}

install_toolkit() {
  local site toolkit library name
  python3 -m venv --clear "$dir/venv" || fail "python3 cannot make an environment: is its venv module installed?"
  # All that is needed is named, so that no package brings more. Without pip's cache, which would hold it all once more.
  "$dir/venv/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir --no-deps \
    'nvidia-cuda-nvcc==13.0.*' 'nvidia-cuda-crt==13.0.*' 'nvidia-nvvm==13.0.*' 'nvidia-cuda-cccl==13.0.*' \
    'nvidia-cuda-runtime==13.0.*' 'nvidia-cuda-nvrtc==13.0.*' 'nvidia-cublas==13.1.*' 'nvidia-curand==10.4.*' \
    'nvidia-cudnn-cu13==9.19.*' || fail "the packages could not be installed"
  site=$(echo "$dir"/venv/lib/python3*/site-packages/nvidia)
  toolkit=$site/cu13
  [ -x "$toolkit/bin/nvcc" ] || fail "the packages are laid out in another way than expected: there is no nvcc"
  # The packages leave cuDNN in a folder of its own; builds look for one toolkit.
  cp -r "$site"/cudnn/include/. "$toolkit/include/"
  if [ -n "$minimal" ]; then
    for library in "$toolkit"/lib/lib{cublas,cublasLt,curand,nvrtc}.so.* "$site"/cudnn/lib/libcudnn.so.*; do
      nm -D --defined-only "$library" | awk '$2 ~ /[TWi]/ {sub(/@.*/, "", $3); print $3}' | sort -u >"$dir/names"
      names_only "$library" "$(basename "$library")" <"$dir/names"
    done
    rm -f "$dir/names" "$site"/cudnn/lib/libcudnn_*.so.* "$toolkit"/lib/libnvrtc[.-]*alt* "$toolkit"/lib/lib{nvblas,nvrtc-builtins}.so.*
  fi
  # Linkers look for libX.so; the packages have libX.so.N only. Relative, so that the folder can be moved.
  mkdir -p "$toolkit/lib64/stubs"
  for library in "$toolkit"/lib/*.so.* "$site"/cudnn/lib/*.so.*; do
    name=$(basename "$library")
    case $library in
      */cudnn/*) ln -sf "../../cudnn/lib/$name" "$toolkit/lib64/${name%%.so*}.so" ;;
      *) ln -sf "../lib/$name" "$toolkit/lib64/${name%%.so*}.so" ;;
    esac
  done
  for library in "$toolkit"/lib/*.a; do
    ln -sf "../lib/$(basename "$library")" "$toolkit/lib64/"
  done
  # The driver's library belongs to the driver. To link, its names are enough; they are all in its header.
  grep -oE '\bcu[A-Z][A-Za-z0-9_]*' "$toolkit/include/cuda.h" | sort -u | names_only "$toolkit/lib64/stubs/libcuda.so" libcuda.so.1
  echo "${minimal:-no}" >"$done_mark"
}

if [ -e "$done_mark" ] && [ -z "$minimal" ] && [ "$(cat "$done_mark")" = yes ]; then
  # There is less than is asked for.
  rm "$done_mark"
fi
if [ ! -e "$done_mark" ]; then
  echo "cuda-toolkit.sh: installing into $1: some minutes, 4 GB free are needed meanwhile" >&2
  install_toolkit >&2
  echo "cuda-toolkit.sh: done, $(du -sh "$dir" | cut -f1) in $1" >&2
fi

toolkit=$(echo "$dir"/venv/lib/python3*/site-packages/nvidia/cu13)
quoted() { printf '%q' "$1"; }
echo "export CUDA_HOME=$(quoted "$toolkit") CUDA_PATH=$(quoted "$toolkit") NVCC=$(quoted "$toolkit/bin/nvcc")"
# Some crates look for it under these names; and they ask a GPU for its capability unless one is named.
echo "export CUDA_ROOT=$(quoted "$toolkit") CUDA_TOOLKIT_ROOT_DIR=$(quoted "$toolkit") CUDA_COMPUTE_CAP=\${CUDA_COMPUTE_CAP:-80}"
echo "export PATH=$(quoted "$toolkit/bin"):\$PATH"
echo "export LIBRARY_PATH=$(quoted "$toolkit/lib64"):$(quoted "$toolkit/lib64/stubs")\${LIBRARY_PATH:+:\$LIBRARY_PATH}"
if [ "$(cat "$done_mark")" = no ]; then
  echo "# To run: export LD_LIBRARY_PATH=$(quoted "$toolkit/lib"):$(quoted "$toolkit/../cudnn/lib")"
fi
