#!/bin/sh
# Installs what building and the demonstration need from the system, and only what is missing:
# cmake and a C compiler (zlib-ng, the cryptography), Python 3 with venv (DuckDB), systemd-analyze (the
# check of the unit), Chromium and a font (the dashboard). Rust comes from rustup.
set -eu

has() { command -v "$1" >/dev/null 2>&1; }

missing=
has cmake || missing="$missing cmake"
has make || missing="$missing make"
has cc || missing="$missing gcc libc6-dev"
has python3 || missing="$missing python3"
# `import venv` works on Debian without the package; what is missing then is ensurepip.
python3 -c 'import venv, ensurepip' 2>/dev/null || missing="$missing python3-venv"
has systemd-analyze || missing="$missing systemd"
has chromium || has chromium-browser || has google-chrome || missing="$missing chromium fonts-inter"

if ! has cargo; then
    echo 'Rust is missing. Install it from https://rustup.rs and run this again.' >&2
    exit 1
fi
[ -n "$missing" ] || exit 0

if ! has apt-get; then
    echo "This is not Debian or Ubuntu. Install what these packages contain, and run this again:" >&2
    echo "   $missing" >&2
    exit 1
fi

as_root=
if [ "$(id -u)" != 0 ]; then
    if ! has sudo; then
        echo "As root: apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    as_root=sudo
fi
echo "Installing from Debian:$missing"
$as_root apt-get update -qq
# shellcheck disable=SC2086 # a list of packages
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
