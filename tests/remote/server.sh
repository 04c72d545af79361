#!/usr/bin/env bash
# Installs the S3-compatible server that tests/remote_s3.rs kills: s3s-fs, which keeps objects as files. It takes two minutes of two
# cores, once; as a dependency of the tests it would take them of everybody.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ -x target/s3-server/bin/s3s-fs ] ||
  cargo install s3s-fs --version =0.13.0-alpha.3 --features binary --locked --root target/s3-server --target-dir target/s3-server/build
rm -rf target/s3-server/build
echo "target/s3-server/bin/s3s-fs"
