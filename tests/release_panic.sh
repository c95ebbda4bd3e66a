#!/usr/bin/env bash
# A panic ends in order in the static build too, which has no unwinder, no frames, and functions that are one. It is built
# once more, with a signal that panics.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=$(PREFORK_STATIC_PANICS=1 CARGO_TARGET_DIR=target/panics cargo static --locked)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
for backtrace in 0 1 full; do
    rm -f "$root"/*
    PREFORK_DEBUG_PANIC=1 RUST_BACKTRACE=$backtrace "$binary" -- sh -c "
        trap 'sleep 0.2; echo stopped >$root/stopped; exit' TERM; echo >$root/ready; while :; do sleep 0.01; done
    " 2>"$root/stderr" &
    pid=$!
    for _ in $(seq 500); do
        [ ! -e "$root/ready" ] || break
        sleep 0.02
    done
    kill -USR1 "$pid"
    code=0
    wait "$pid" || code=$?
    if [ "$code" != 70 ] || ! [ -e "$root/stopped" ] || ! grep -q '^prefork-init: internal error, stopping everything: ' "$root/stderr"; then
        echo "tests/release_panic.sh: a panic ends with $code, RUST_BACKTRACE=$backtrace: $(cat "$root/stderr")" >&2
        exit 1
    fi
done
echo "static binary: a panic stops everything in order"
