#!/usr/bin/env bash
# The static build: it is static, it runs where there is nothing else at all, and it is small.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=$(cargo static)

if ldd "$binary" >/dev/null 2>&1; then
    echo "tests/static.sh: $binary is dynamically linked" >&2
    exit 1
fi

# An empty root with the binary and nothing else is what FROM scratch gives it.
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
cp "$binary" "$root/prefork-init"
in_scratch() {
    if [ "$(id -u)" = 0 ]; then chroot "$root" "$@"; else unshare --user --map-root-user --root "$root" "$@"; fi
}
# It runs itself as its command: there is nobody else in there.
out=$(in_scratch /prefork-init -- /prefork-init --version)
[ "$out" = "$(in_scratch /prefork-init --version)" ] && [ -n "$out" ]
code=0
in_scratch /prefork-init -- /prefork-init -- /nothing 2>/dev/null || code=$?
[ "$code" = 127 ] || { echo "tests/static.sh: exit code $code, not 127, in an empty root" >&2; exit 1; }
# It has no generators: `generate` is a command like all others.
code=0
in_scratch /prefork-init generate man 2>/dev/null || code=$?
[ "$code" = 127 ] || { echo "tests/static.sh: generate ends with $code: it is built in" >&2; exit 1; }

# It asks itself how it is, without a shell, curl, /proc or /etc.
export PREFORK_CONTROL=/control PREFORK_HEALTH=unix:/health PREFORK_LOG_LEVEL=warn
in_scratch /prefork-init --pause --parent-death-signal TERM &
paused=$!
trap 'kill "$paused" 2>/dev/null; rm -rf "$root"' EXIT
for _ in $(seq 100); do
    [ ! -S "$root/health" ] || break
    sleep 0.05
done
in_scratch /prefork-init healthcheck --ready >/dev/null
in_scratch /prefork-init status | grep -q '^init running'
in_scratch /prefork-init ctl stop >/dev/null
wait "$paused"
trap 'rm -rf "$root"' EXIT
code=0
in_scratch /prefork-init healthcheck 2>/dev/null || code=$?
[ "$code" = 1 ] || { echo "tests/static.sh: healthcheck ends with $code, not 1, when nobody answers" >&2; exit 1; }
unset PREFORK_CONTROL PREFORK_HEALTH PREFORK_LOG_LEVEL

# It starts with as little stack and memory as others of its kind do, and says so where there is less.
limited() { (ulimit "$1" "$2" && shift 2 && "$binary" "$@"); }
limited -s 64 -- "$binary" --version >/dev/null
limited -s 64 --health 127.0.0.1:0 -- "$binary" --version >/dev/null 2>&1
limited -s 64 --help >/dev/null
limited -s 64 check -b 127.0.0.1:0 -- "$binary" >/dev/null
limited -d 1024 -- "$binary" --version >/dev/null
code=0
said=$(limited -d 300 -- "$binary" --version 2>&1) || code=$?
[ "$code" = 125 ] && [[ "$said" = "prefork-init: memory: "* ]] || { echo "tests/static.sh: $code without memory: $said" >&2; exit 1; }

# An init that has settled keeps nothing of a plain start, one without our variables. It goes to / when its command runs, gives memory back, and sleeps.
env -i PATH="$PATH" "$binary" -- sleep 1000 2>/dev/null &
idle=$!
trap 'kill "$idle" 2>/dev/null; rm -rf "$root"' EXIT
for _ in $(seq 100); do
    [ "$(readlink "/proc/$idle/cwd")" != / ] || ! grep -q '^State:.*S' "/proc/$idle/status" || break
    sleep 0.05
done
[ "$(readlink "/proc/$idle/cwd")" = / ] || { echo "tests/static.sh: an init has not settled in five seconds" >&2; exit 1; }
memory=$(sed -n 's/^Anonymous: *\([0-9]*\) kB$/\1/p' "/proc/$idle/smaps_rollup")
[ "$memory" -le 112 ] || { echo "tests/static.sh: an idle init keeps $memory kB, more than 112" >&2; exit 1; }
kill "$idle"
wait "$idle" 2>/dev/null || true
trap 'rm -rf "$root"' EXIT

size=$(stat -c %s "$binary")
[ "$size" -le 2190000 ] || { echo "tests/static.sh: $size bytes is more than 2,190,000" >&2; exit 1; }
echo "static binary: $size bytes, $memory kB when idle, no dynamic linking, runs in an empty root"
