#!/bin/sh
# Installs what building and the demonstration need from the system, and only what is missing:
# cmake and a C compiler (zlib-ng, the cryptography), Python 3 with venv (DuckDB). With the argument
# `tests` also what the tests need: systemd-analyze (the unit), Chromium and a font (the dashboard).
# Rust comes from rustup.
set -eu

has() { command -v "$1" >/dev/null 2>&1; }

missing=
# What is not checked where it cannot be had.
wanted=
has cmake || missing="$missing cmake"
has make || missing="$missing make"
has cc || missing="$missing gcc libc6-dev"
has python3 || missing="$missing python3"
# `import venv` works on Debian without the package; what is missing then is ensurepip.
python3 -c 'import venv, ensurepip' 2>/dev/null || missing="$missing python3-venv"
if [ "${1:-}" = tests ]; then
    has systemd-analyze || missing="$missing systemd"
    has chromium || has chromium-browser || has google-chrome || wanted='chromium fonts-inter'
fi

if ! has cargo; then
    echo 'Rust is missing. Install it from https://rustup.rs and run this again.' >&2
    exit 1
fi
[ -n "$missing$wanted" ] || exit 0

if ! has apt-get; then
    echo "This is not Debian or Ubuntu. Install what these packages contain, and run this again:" >&2
    echo "   $missing $wanted" >&2
    [ -n "$missing" ] || exit 0
    exit 1
fi

as_root=
if [ "$(id -u)" != 0 ]; then
    if ! has sudo; then
        echo "As root: apt-get install --no-install-recommends$missing $wanted" >&2
        [ -n "$missing" ] || exit 0
        exit 1
    fi
    as_root=sudo
fi
install() {
    echo "Installing from Debian: $*"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

$as_root apt-get update -qq
# shellcheck disable=SC2086 # words
[ -z "$missing" ] || install $missing
# shellcheck disable=SC2086 # words
[ -z "$wanted" ] || install $wanted || echo "NOT INSTALLED: $wanted; what needs it is not checked" >&2
