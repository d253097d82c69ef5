#!/bin/sh
# Makes the Python environment of the real-client tests: setup.sh
#
# CLIENTS_VENV   where it goes         (default: target/clients-venv)
# PYTHON         which Python makes it (default: python3; 3.11 or newer)
#
# Running it again costs nothing: a stamp in the environment holds the hash of what was installed.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
venv=${CLIENTS_VENV:-$root/target/clients-venv}
python=${PYTHON:-python3}
requirements=$here/requirements.txt
stamp=$venv/.requirements.sha256

wanted=$(sha256sum <"$requirements" | cut -d' ' -f1)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && [ -x "$venv/bin/python" ]; then
    exit 0
fi

# `venv` is importable on Debian without python3-venv, but cannot install pip: ensurepip tells.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if ! command -v apt-get >/dev/null; then
        echo "setup.sh: install Python 3.11 or newer with its venv module" >&2
        exit 1
    fi
    as_root=''
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "setup.sh: run as root: apt-get install python3 python3-venv" >&2
            exit 1
        fi
        as_root=sudo
    fi
    $as_root apt-get update -q
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        ca-certificates python3 python3-venv
fi

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "setup.sh: $("$python" --version) is too old, the pinned clients need 3.11 (set PYTHON)" >&2
    exit 1
fi

rm -f "$stamp"
"$python" -m venv --clear "$venv"
# --no-deps: the file is complete, and a resolver would need minutes to find the same versions.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --no-deps --only-binary :all: --requirement "$requirements"
"$venv/bin/python" -m pip check
echo "$wanted" >"$stamp"
