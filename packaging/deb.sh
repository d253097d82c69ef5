#!/bin/sh
# Makes the Debian package of a binary that is built: deb.sh [PROFILE [VERSION [FILE]]]
#
# PROFILE   the directory of target/ with the binary (default: release)
# VERSION   of the package (default: the crate's, with revision 1)
# FILE      where it goes (default: target/debian/s3proxy_VERSION_ARCH.deb)
#
# Takes the cargo-deb that is installed when it has the right version, else builds one into
# target/tools, in about a minute.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"
cargo_deb_version=3.8.0
target=${CARGO_TARGET_DIR:-$root/target}
profile=${1:-release}
version=${2:-$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)-1}
file=${3:-$target/debian}

is_right() {
    [ "$("$1" --version 2>/dev/null)" = "cargo-deb $cargo_deb_version" ]
}

cargo_deb=cargo-deb
if ! is_right "$cargo_deb"; then
    cargo_deb=$target/tools/bin/cargo-deb
    if ! is_right "$cargo_deb"; then
        echo "building cargo-deb $cargo_deb_version into $target/tools"
        cargo install --quiet --locked --force --debug --no-default-features \
            --version "$cargo_deb_version" --root "$target/tools" cargo-deb
    fi
fi

if [ ! -x "$target/$profile/s3proxy" ]; then
    echo "deb.sh: there is no $target/$profile/s3proxy: build it first" >&2
    exit 1
fi
# Cargo's profile `dev` lies in `debug`, and is packed for tests: quickly.
compression='--compress-type xz'
if [ "$profile" = debug ]; then
    profile=dev
    compression='--compress-type gz --fast'
fi

# Made here, named in Cargo.toml.
made=$root/target/package
python3 packaging/licences.py "$made"
gzip -9nf "$made/third-party-licences.txt"
cat >"$made/changelog" <<CHANGELOG
s3proxy ($version) unstable; urgency=medium

  * See CHANGELOG.md of the repository.

 -- s3proxy maintainers <s3proxy@users.noreply.github.com>  $(LC_ALL=C git log -1 --format=%cD)
CHANGELOG

# shellcheck disable=SC2086 # words
"$cargo_deb" --quiet --locked --no-build --strip --no-dbgsym --profile "$profile" \
    $compression --compress-system --deb-version "$version" --output "$file"
