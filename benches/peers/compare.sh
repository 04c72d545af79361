#!/usr/bin/env bash
# s2pipe beside ninja, make, DVC, Snakemake, doit and moon: three Markdown tables, of speed, of behaviour and of hashing.
# About half an hour.
#
#     cargo build --release && benches/peers/setup.sh && benches/peers/compare.sh > peers.md
#
# PEERS=~/.cache/s2pipe-peers   WORKSPACE=$PEERS/ws (3 GB)   S2PIPE=target/release/s2pipe   JOBS=2
# Progress, each call's spread and what each tool said go to standard error.
set -euo pipefail
cd "$(dirname "$0")"
./generate.py
./speed.py
echo
# Goes on where s2pipe has a row that is not ok: that is what the table is for.
./behaviour.py || failed=$?
echo
./hashing.py
exit "${failed:-0}"
