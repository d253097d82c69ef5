#!/bin/sh
# Builds and runs the proxy, and does so again whenever a source or a configuration file changes.
# Arguments go to the proxy. A build that fails leaves the old proxy running. End with Ctrl-C.
set -eu
cd "$(dirname "$0")/.."

bin="${CARGO_TARGET_DIR:-target}/debug/s3proxy"
seen=$(mktemp)
pid=

stop() {
    [ -n "$pid" ] || return 0
    kill -TERM "$pid" 2>/dev/null || true
    # Graceful shutdown may take long; a developer is not patient.
    i=0
    while kill -0 "$pid" 2>/dev/null && [ "$i" -lt 30 ]; do sleep 0.1; i=$((i + 1)); done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    pid=
}

finish() {
    trap - EXIT INT TERM HUP
    stop
    rm -f "$seen"
    exit 0
}
trap finish EXIT INT TERM HUP

# Whether a file is newer than the last look; deleted files show in their directory's time.
changed() {
    for path in src conf Cargo.toml Cargo.lock; do
        [ ! -e "$path" ] || [ -z "$(find "$path" -newer "$seen" -print -quit)" ] || return 0
    done
    return 1
}

while :; do
    touch "$seen"
    if cargo build; then
        stop
        "$bin" "$@" &
        pid=$!
        echo "dev: s3proxy runs as process $pid, waiting for changes"
    else
        echo 'dev: the build failed, waiting for changes'
    fi
    # One second is as fine as some file systems tell times.
    until changed; do sleep 1; done
    echo 'dev: changed, building'
done
