#!/bin/sh
# Checks the files in systemd/ with systemd's own tools: units.sh
#
# Without systemd-analyze it says so and passes; tests/setup-debian.sh installs it.
set -eu

cd "$(dirname "$0")/.."
# In tenths, as systemd-analyze wants it: 2.0 of 10.
exposure=20

if ! command -v systemd-analyze >/dev/null 2>&1; then
    echo 'units.sh: NOT CHECKED: there is no systemd-analyze' >&2
    exit 0
fi

# A root of its own, in which the binary that the unit names exists: what is installed here is not asked.
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
units=$root/etc/systemd/system
mkdir -p "$units" "$root/usr/bin" "$root/etc/s3proxy/credentials"
ln -s /bin/true "$root/usr/bin/s3proxy"
cp systemd/*.service "$units"

failed=
for unit in "$units"/*.service; do
    name=$(basename "$unit")
    # Binaries are looked up on this machine, not in the root: the names stand for themselves.
    said=$(sed "s|=/usr/bin/s3proxy|=$root/usr/bin/s3proxy|" "$unit" >"$unit.new" &&
        mv "$unit.new" "$unit" && systemd-analyze verify --man=no --recursive-errors=no "$unit" 2>&1) || failed=yes
    # It warns of unknown keys and sections without failing.
    if [ -n "$said" ]; then
        echo "$said" >&2
        failed=yes
    fi
    systemd-analyze security --offline=yes --no-pager --threshold="$exposure" "$unit" >"$root/said" || {
        cat "$root/said" >&2
        failed=yes
    }
    tail -n 1 "$root/said" | sed "s|.*Overall|$name: overall|"
done
if [ -n "$failed" ]; then
    echo 'units.sh: a unit has to be repaired' >&2
    exit 1
fi

if [ "$(id -u)" != 0 ]; then
    echo 'units.sh: NOT CHECKED: account and directories, which only root can make' >&2
    exit 0
fi
mkdir -p "$root/etc/sysusers.d" "$root/etc/tmpfiles.d"
cp systemd/s3proxy.sysusers "$root/etc/sysusers.d/s3proxy.conf"
cp systemd/s3proxy.tmpfiles "$root/etc/tmpfiles.d/s3proxy.conf"
systemd-sysusers --root="$root" s3proxy.conf
systemd-tmpfiles --root="$root" --create s3proxy.conf
grep -q '^s3proxy:.*:/usr/sbin/nologin$' "$root/etc/passwd"
[ "$(stat -c %a "$root/var/cache/s3proxy")" = 700 ]
echo 'account and directories: ok'
