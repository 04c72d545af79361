#!/usr/bin/env bash
# Builds the emulated GPU: libraries with the names of NVIDIA's that compute on the host. See README.md.
#   CUDA_HOME=TOOLKIT build.sh [--test] OUT_DIR
set -euo pipefail

usage() {
  echo "usage: CUDA_HOME=TOOLKIT build.sh [--test] OUT_DIR" >&2
  exit 2
}

test=
if [ "${1-}" = --test ]; then
  test=yes
  shift
fi
[ $# = 1 ] || usage
: "${CUDA_HOME:?is not set: the headers of a CUDA toolkit are needed}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
mkdir -p "$1/kernels" "$1/work"
out=$(cd "$1" && pwd)
work=$out/work

compiler=${CXX:-g++}
flags=(-std=c++17 -O2 -g1 -fPIC -march=native -fvisibility=hidden -fno-gnu-unique -Wall -Wextra -Wno-deprecated-declarations
  -isystem "$CUDA_HOME/include")

# Whether a file is missing or older than one of those that it is made from.
stale() {
  local made=$1 from
  shift
  [ -e "$made" ] || return 0
  for from; do
    [ "$from" -nt "$made" ] && return 0
  done
  return 1
}

# Names of the functions of one of NVIDIA's libraries, from the headers; all start with the given letters.
functions() {
  local letters=$1
  shift
  (cd "$CUDA_HOME/include" && cat "$@") | grep -oE "\b${letters}[A-Z][A-Za-z0-9_]*" | sort -u
}

# Functions that only say "not supported", for all that a library has and the emulation has not.
#   stubs LIBRARY CODE MADE...: names come on the input
stubs() {
  local file=$work/$1-stubs.s code=$2
  shift 2
  nm -g --defined-only "$@" | awk '$2 == "T" {print $3}' | sort -u >"$work/defined"
  comm -23 - "$work/defined" | {
    echo ".text"
    while read -r name; do
      printf '.globl %s\n.type %s, @function\n%s:\n' "$name" "$name" "$name"
    done
    case $(uname -m) in
      aarch64) printf 'mov w0, #%d\nret\n' "$code" ;;
      *) printf 'mov $%d, %%eax\nret\n' "$code" ;;
    esac
    echo '.section .note.GNU-stack,"",%progbits'
  } >"$file"
  "$compiler" -c -o "${file%.s}.o" "$file"
}

# library NAME VERSION LETTERS CODE "HEADER..." SOURCE...; without letters, nothing is stubbed
library() {
  local name=$1 version=$2 letters=$3 code=$4 headers=$5 source object objects=()
  shift 5
  local file=$out/lib$name.so.$version
  for source; do
    object=$work/$name-$(basename "${source%.cpp}").o
    objects+=("$object")
    if stale "$object" "$source" "$here"/*/*.h "$here/build.sh"; then
      # The calls of the toolkit's headers are what such a library shows; the rest stays inside.
      "$compiler" "${flags[@]}" -fvisibility=default -c -o "$object" "$source"
    fi
  done
  stale "$file" "${objects[@]}" || return 0
  # shellcheck disable=SC2086
  { [ -z "$letters" ] || functions "$letters" $headers; } | stubs "$name" "$code" "${objects[@]}"
  echo '{global: cu*; nvrtc*; nccl*; s2pipe_emulate_*; local: *;};' >"$work/shown"
  local beside=()
  [ "$name" = cuda ] || beside=(-L"$out" -l:libcuda.so.1 -Wl,-rpath,"\$ORIGIN")
  "$compiler" -shared -Wl,-soname,"lib$name.so.$version" -Wl,-Bsymbolic,--version-script="$work/shown" \
    -o "$file" "${objects[@]}" "$work/$name-stubs.o" "${beside[@]}" -ldl -lpthread
}

# Kernels: the preprocessor's output, with shared memory made static variables and a list of the kernels behind it. nvcc
# takes `alignas` in places where a host compiler does not; its older spelling may stand anywhere.
#   kernels SOURCE NAME
kernels() {
  local source=$1 name=$2 text=$work/$2.ii made=$out/kernels/$2.so names dynamic
  stale "$made" "$source" "$(dirname "$source")"/*.cuh "$here"/device/*.h "$here/build.sh" || return 0
  local include=(-include "$here/device/device.h" -I"$(dirname "$source")" -isystem "$CUDA_HOME/include/cccl")
  "$compiler" "${flags[@]}" "${include[@]}" -x c++ -E -o "$text.0" "$source"
  names=$(grep -zoP 'extern\s+"C"\s+__global__\s+void\s+\K\w+(?=\s*\()' "$text.0" | tr '\0' '\n' | sort -u || true)
  if [ -z "$names" ]; then
    echo "build.sh: there is no kernel in $source" >&2
    return 1
  fi
  dynamic=$(grep -oP 'extern\s+__shared__[^;]*?\b\K\w+(?=\s*\[\s*\]\s*;)' "$text.0" | sort -u || true)
  sed -E \
    -e 's/\bextern([[:space:]]+)__shared__\b/extern __attribute__((visibility("hidden")))/g' \
    -e 's/\balignas[[:space:]]*\(([0-9]+)\)/__attribute__((aligned(\1)))/g' \
    -e 's/\b__shared__\b/static/g' -e 's/\b__global__\b//g' "$text.0" >"$text"
  {
    echo "EMULATE_MODULE("
    # shellcheck disable=SC2001
    sed 's/.*/EMULATE_KERNEL(&),/' <<<"$names" | sed '$s/,$//'
    echo ")"
  } >"$work/$name.list"
  # The list is made of macros, which the text no longer knows.
  (echo "#include \"$here/device/list.h\""; cat "$work/$name.list") |
    "$compiler" -x c++ -E -P - >>"$text"
  # All dynamic shared memory of a source is the same place. It is not among the zeros, which are static shared memory.
  {
    echo '.section s2pipe_dynamic,"aw",@nobits'
    echo '.p2align 10'
    for label in s2pipe_emulate_dynamic $dynamic; do
      printf '.globl %s\n.hidden %s\n%s:\n' "$label" "$label" "$label"
    done
    echo ".zero $((228 * 1024))"
    echo '.section .note.GNU-stack,"",%progbits'
  } >"$work/$name-dynamic.s"
  "$compiler" "${flags[@]}" -Wno-all -Wno-extra -fno-strict-aliasing -fpreprocessed -x c++ -c -o "$work/$name.o" "$text"
  "$compiler" -c -o "$work/$name-dynamic.o" "$work/$name-dynamic.s"
  "$compiler" -shared -Wl,-soname,"$name.so" -Wl,-Bsymbolic -o "$made" "$work/$name.o" "$work/$name-dynamic.o" \
    -L"$out" -l:libcuda.so.1 -Wl,-rpath,"\$ORIGIN/.."
}

library cuda 1 cu 801 cuda.h "$here"/driver/*.cpp
library cudnn 9 cudnn 3000 'cudnn_graph.h cudnn_ops.h cudnn_cnn.h cudnn_adv.h cudnn_backend.h' \
  "$here"/libraries/{dnn*,convolve}.cpp
library cublas 13 cublas 15 'cublas_api.h cublas_v2.h' "$here"/libraries/blas.cpp
library cublasLt 13 cublasLt 15 cublasLt.h "$here"/libraries/blas_light.cpp
library curand 10 curand 1000 curand.h "$here"/libraries/rand.cpp
library nvrtc 13 nvrtc 11 nvrtc.h "$here"/libraries/compiler.cpp
library nccl 2 '' 3 '' "$here"/libraries/ranks.cpp
# candle's kernels come from the crate's sources that cargo has downloaded, of the version in the lock file.
version=$(awk '$0 == "name = \"candle-kernels\"" {getline; gsub(/[^0-9.]/, ""); print}' "$root/Cargo.lock")
candle=$(echo "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/candle-kernels-"$version"/src)
if [ ! -d "$candle" ]; then
  echo "build.sh: candle-kernels $version is not there; cargo fetch downloads it" >&2
  exit 1
fi
# As many at a time as there are processors; the first that fails ends the build.
running=0
for source in "$root"/src/net/ops/cuda/kernels/*.cu "$candle"/{affine,binary,cast,fill,indexing,reduce,sort,ternary,unary}.cu; do
  name=$(basename "${source%.cu}")
  case $source in "$candle"/*) name=candle-$name ;; esac
  kernels "$source" "$name" &
  running=$((running + 1))
  if [ "$running" -ge "$(nproc)" ]; then
    wait -n
    running=$((running - 1))
  fi
done
while [ "$running" -gt 0 ]; do
  wait -n
  running=$((running - 1))
done
# What a source left that is no longer there would still be found.
for made in "$out"/kernels/*.so; do
  name=$(basename "${made%.so}")
  case $name in
    candle-*) ;;
    *) [ -e "$root/src/net/ops/cuda/kernels/$name.cu" ] || rm "$made" ;;
  esac
done

if [ -n "$test" ]; then
  kernels "$here/selftest/kernels.cu" selftest
  made=$work/selftest
  if stale "$made" "$here"/selftest/*.{cpp,h} "$here/build.sh"; then
    "$compiler" "${flags[@]}" -o "$made" "$here"/selftest/*.cpp -L"$out" \
      -l:libcudnn.so.9 -l:libcublas.so.13 -l:libcuda.so.1 -Wl,-rpath,"\$ORIGIN/.." -lpthread
  fi
  (cd "$work" && ./selftest)
  rm -f "$out/kernels/selftest.so"
fi
