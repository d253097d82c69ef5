#!/bin/sh
# Makes the Debian package of target/debug/s3proxy, and installs, upgrades, removes and purges it in
# a clean Debian with a systemd of its own: run.sh
#
# S3PROXY_PACKAGE_ROOT   a root made by debootstrap before, which is copied (default: a new one)
# S3PROXY_PACKAGE_MUST   1: fail where the machine lacks what this takes, instead of passing with a notice
# CLIENTS_VENV           see tests/clients/setup.sh
#
# The system is a container: its own files, processes and network, in which nothing but this test can
# be reached. Everything goes away at the end. Needs root.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
cd "$root"
venv=${CLIENTS_VENV:-$root/target/clients-venv}

not_checked() {
    echo "tests/package/run.sh: NOT CHECKED: $1" >&2
    [ "${S3PROXY_PACKAGE_MUST:-}" != 1 ] || exit 1
    exit 0
}

[ "$(id -u)" = 0 ] || not_checked 'only root can make a container'
command -v apt-get >/dev/null || not_checked 'this is not Debian or Ubuntu'

missing=
command -v debootstrap >/dev/null || missing="$missing debootstrap"
command -v systemd-nspawn >/dev/null || missing="$missing systemd-container"
command -v dpkg-shlibdeps >/dev/null || missing="$missing dpkg-dev"
command -v lintian >/dev/null || missing="$missing lintian"
command -v xz >/dev/null || missing="$missing xz-utils"
if [ -n "$missing" ]; then
    apt-get update -qq || true
    # shellcheck disable=SC2086 # a list of packages
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
        not_checked "these packages cannot be installed:$missing"
fi

work=$(mktemp -d)
container=
# The container's init, as this machine numbers it.
init=
# shellcheck disable=SC2317 # called by trap
clean_up() {
    status=$?
    # With its init everything in it ends, and then systemd-nspawn does.
    [ -z "$init" ] || kill -KILL "$init" 2>/dev/null || true
    if [ -n "$container" ]; then
        [ -n "$init" ] || kill -KILL "$container" 2>/dev/null || true
        wait "$container" 2>/dev/null || true
    fi
    rm -rf --one-file-system "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

machine=$work/machine
# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
new_root() {
    if [ -n "${S3PROXY_PACKAGE_ROOT:-}" ]; then
        cp -a "$S3PROXY_PACKAGE_ROOT" "$machine"
    else
        debootstrap --variant=minbase --include=ca-certificates,dbus,systemd,systemd-sysv "$release" "$machine"
    fi
}
# Both load and wait more than they compute.
new_root >"$work/debootstrap.log" 2>&1 &
bootstrap=$!
"$root/tests/clients/setup.sh"
"$root/packaging/deb.sh" debug 0.0.1-1 "$work/first.deb"
"$root/packaging/deb.sh" debug 0.0.1-2 "$work/second.deb"
lintian --allow-root --fail-on error,warning "$work/first.deb"
echo 'lintian: nothing to say'
wait "$bootstrap" || {
    tail -n 20 "$work/debootstrap.log" >&2
    not_checked 'debootstrap makes no system here'
}

mkdir -p "$machine/packages"
cp "$work/first.deb" "$work/second.deb" "$machine/packages"
# Of the journal nothing goes to disk; of the console nothing is wanted.
mkdir -p "$machine/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\n' >"$machine/etc/systemd/journald.conf.d/test.conf"
SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --register=no --keep-unit --private-network \
    --directory="$machine" --machine=s3proxy-package-test --console=pipe --boot \
    </dev/null >"$work/console.log" 2>&1 &
container=$!

for _ in $(seq 300); do
    init=$(cut -d' ' -f1 "/proc/$container/task/$container/children" 2>/dev/null || true)
    [ -z "$init" ] || ! nsenter --target "$init" --all systemctl is-system-running --wait >/dev/null 2>&1 || break
    kill -0 "$container" 2>/dev/null || break
    sleep 0.1
done
if [ -z "$init" ] || ! nsenter --target "$init" --all test -d /run/systemd/system; then
    # Nothing of ours is installed in it yet.
    cat "$work/console.log" >&2
    not_checked 'the container does not boot'
fi

# The check has this machine's files and Python, and the container's network.
nsenter --target "$init" --net "$venv/bin/python" "$here/check.py" "$init" "$machine" "$work"
