#!/bin/sh
# Installs the other runners, outside the repository: DVC, Snakemake and doit (pip), moon (npm), ninja, b3sum and time (apt).
#
#     benches/peers/setup.sh        PEERS=~/.cache/s2pipe-peers
#
# What is there already stays. As an ordinary user, install ninja-build, b3sum and time first.
set -eu
PEERS=${PEERS:-$HOME/.cache/s2pipe-peers}
mkdir -p "$PEERS/npm"
if [ ! -x "$PEERS/venv/bin/dvc" ]; then
  python3 -m venv "$PEERS/venv"
  "$PEERS/venv/bin/pip" install -q dvc snakemake doit blake3
fi
[ -x "$PEERS/npm/node_modules/.bin/moon" ] || (cd "$PEERS/npm" && npm install --silent @moonrepo/cli)
missing=
command -v ninja >/dev/null || missing="$missing ninja-build"
command -v b3sum >/dev/null || missing="$missing b3sum"
[ -x /usr/bin/time ] || missing="$missing time"
# shellcheck disable=SC2086 # a list of words
[ -z "$missing" ] || apt-get install -y -qq $missing
