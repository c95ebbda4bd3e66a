#!/usr/bin/env bash
# The main job on a fresh machine: builds the supervisor and the example worker, and runs a pool of two that serves
# http://127.0.0.1:8000 with its health endpoint on http://127.0.0.1:9000. Ctrl-C stops it in order.
# Options given to this script are passed on: examples/demo.sh --workers 4 --max-age 1m
set -euo pipefail
cd "$(dirname "$0")/.."
tests/install.sh build

# Without the optimisation of a release, which takes five times as long.
echo "examples/demo.sh: builds: a minute or two the first time" >&2
cargo build --bin prefork-init --example worker

export PREFORK_WORKERS=${PREFORK_WORKERS:-2}
export PREFORK_BIND=${PREFORK_BIND:-127.0.0.1:8000}
export PREFORK_HEALTH=${PREFORK_HEALTH:-127.0.0.1:9000}
echo "examples/demo.sh: serves http://$PREFORK_BIND, health at http://$PREFORK_HEALTH/readyz; Ctrl-C stops it" >&2
built=${CARGO_TARGET_DIR:-target}/debug
exec "$built/prefork-init" \
    --max-requests 1000 --max-requests-jitter 100 --count-requests notify "$@" \
    -- "$built/examples/worker" --fd {fd} --notify
