#!/bin/sh
# Measures engines against a far store, directly and through s3proxy: run.sh [arguments of main.py]
#
# S3PROXY_BIN            the proxy (default: target/quick/s3proxy)
# S3PROXY_DEMO_BIN       the program that makes the store far away (default: target/quick/s3proxy-demo)
# CLIENTS_VENV, PYTHON   see tests/clients/setup.sh
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
venv=${CLIENTS_VENV:-$root/target/clients-venv}
# Beside that environment, which holds exactly what the tests say.
packages=$root/target/engines/packages
stamp=$packages/requirements.txt

CLIENTS_VENV=$venv "$root/tests/clients/setup.sh"
if ! cmp -s "$here/requirements.txt" "$stamp"; then
    rm -rf "$packages"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --target "$packages" --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$stamp"
fi
PYTHONPATH=$packages exec "$venv/bin/python" "$here/main.py" "$@"
