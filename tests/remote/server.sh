#!/usr/bin/env bash
# Installs the S3-compatible servers that tests/remote_s3.rs uses: s3s-fs, which keeps objects as files and is killed, and moto as a
# second opinion. The first takes two minutes of two cores, once; as a dependency of the tests it would take them of everybody.
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! [ -x target/s3-server/bin/s3s-fs ]; then
  cargo install s3s-fs --version =0.13.0-alpha.3 --features binary --locked --root target/s3-server --target-dir target/s3-server/build
  rm -rf target/s3-server/build
fi
if ! [ -x target/moto/bin/moto_server ] && ! command -v moto_server >/dev/null; then
  python3 -m venv target/moto && target/moto/bin/pip install --quiet 'moto[server]' ||
    echo "moto cannot be installed here: the second server is not tested"
fi
