#!/bin/sh
# Runs every check and every test, as CI does: run-all.sh [STEP...]
#
# Without arguments all steps run, in this order; a failed step does not stop the others, except
# that nothing can be tested when the build fails. One profile and one set of features serve all
# steps, so that little is built twice.
set -eu

cd "$(dirname "$0")/.."
features='--features demo'
report=
failed=

now() { date +%s; }

# step NAME COMMAND...: runs a command and notes how long it took.
step() {
    name=$1
    shift
    case " $chosen " in
    *" $name "*) ;;
    *) return 0 ;;
    esac
    printf '\n== %s: %s\n' "$name" "$*"
    start=$(now)
    result=ok
    "$@" || result=FAILED
    [ "$result" = ok ] || failed="$failed $name"
    report="$report$(printf '%-8s %6s s  %s' "$name" "$(($(now) - start))" "$result")
"
    [ "$result" = ok ]
}

finish() {
    printf '\n== summary\n%s' "$report"
    if [ -n "$failed" ]; then
        echo "FAILED:$failed"
        exit 1
    fi
    echo 'everything passed'
    exit 0
}

all='setup fmt units alerts deny build lint doc test clients package'
chosen=${*:-$all}
for name in $chosen; do
    case " $all " in
    *" $name "*) ;;
    *)
        echo "run-all.sh: no step $name; there are: $all" >&2
        exit 2
        ;;
    esac
done

# rustup's minimal profile leaves these out.
components() {
    tests/setup-debian.sh tests || return 1
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return 0
    rustup component add rustfmt clippy
}

# What is delivered has fewer features than what is tested: both have to be clean.
lint() {
    # shellcheck disable=SC2086 # words
    cargo clippy --locked --all-targets $features -- -D warnings &&
        cargo clippy --locked --all-targets -- -D warnings
}

document() {
    # shellcheck disable=SC2086 # words
    RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps $features
}

clients() {
    S3PROXY_BIN="${CARGO_TARGET_DIR:-target}/debug/s3proxy" tests/clients/run.sh -q
}

step setup components || finish
step fmt cargo fmt --check || true
step units tests/units.sh || true
step alerts tests/alerts.sh || true
step deny tests/deny.sh || true
# shellcheck disable=SC2086 # words
step build cargo test --locked $features --no-run || finish
step lint lint || true
step doc document || true
# The soak test is short unless told otherwise.
export S3PROXY_TEST_SOAK_SECS=60
# shellcheck disable=SC2086 # words
step test cargo test --locked $features --no-fail-fast || true
step clients clients || true
# After the clients: it uses their Python.
step package tests/package/run.sh || true
finish
