#!/bin/sh
# Runs real S3 clients against SeaweedFS, directly and through s3proxy: run.sh [pytest arguments]
#
# S3PROXY_BIN                   the proxy to test (default: target/debug/s3proxy)
# S3PROXY_CLIENTS_DIRECT_ONLY   1 leaves the proxy out: do the tests themselves hold?
# CLIENTS_VENV, PYTHON          see setup.sh
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
venv=${CLIENTS_VENV:-$root/target/clients-venv}

"$here/setup.sh"
cd "$here"
exec "$venv/bin/python" -m pytest "$@"
