#!/bin/sh
# Measures s3proxy and others side by side: run.sh [arguments of main.py; --help tells them]
#
# Installs what is missing: the other proxies (Debian), the clients and the store (PyPI); builds what is measured.
#
# S3PROXY_BIN, S3PROXY_DEMO_BIN, S3PROXY_LOAD_BIN   programs; with all three nothing is built (default: target/quick)
# COMPARE_INSTALL        0 leaves proxies out that are not installed
# CLIENTS_VENV, PYTHON   see tests/clients/setup.sh
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
venv=${CLIENTS_VENV:-$root/target/clients-venv}
# Beside that environment, which holds exactly what the tests say.
packages=$root/target/compare/packages
stamp=$packages/requirements.txt

"$root/tests/setup-debian.sh"
CLIENTS_VENV=$venv "$root/tests/clients/setup.sh"
if ! cmp -s "$here/requirements.txt" "$stamp"; then
    rm -rf "$packages"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --target "$packages" --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$stamp"
fi
main() { PYTHONPATH=$packages "$venv/bin/python" "$here/main.py" "$@"; }

# The packages would start their servers, which nobody asked for.
install() {
    as_root=
    if [ "$(id -u)" != 0 ]; then
        as_root=sudo
    fi
    policy=/usr/sbin/policy-rc.d
    own_policy=
    if [ ! -e "$policy" ]; then
        own_policy=$policy
        printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
        $as_root chmod 755 "$policy"
    fi
    echo "Installing from Debian: $*"
    result=0
    {
        $as_root apt-get update -qq &&
            $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    } || result=$?
    [ -z "$own_policy" ] || $as_root rm -f "$own_policy"
    return "$result"
}

missing=$(main --packages "$@")
if [ -n "$missing" ] && [ "${COMPARE_INSTALL:-1}" != 0 ] && command -v apt-get >/dev/null; then
    # shellcheck disable=SC2086 # words
    install $missing || echo "NOT INSTALLED, and not measured: $missing" >&2
fi

if [ -z "${S3PROXY_BIN:-}" ] || [ -z "${S3PROXY_DEMO_BIN:-}" ] || [ -z "${S3PROXY_LOAD_BIN:-}" ]; then
    (cd "$root" && cargo build --locked --profile quick --features demo --bins)
fi
main "$@"
