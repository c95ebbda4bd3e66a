#!/usr/bin/env bash
# The main job on a fresh machine: builds the supervisor and the example worker, and runs a pool of two that serves
# http://127.0.0.1:8000 with its health endpoint on http://127.0.0.1:9000. Ctrl-C stops it in order.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --bin prefork-init --example worker
exec target/release/prefork-init --workers 2 --bind 127.0.0.1:8000 --health 127.0.0.1:9000 \
    --max-requests 1000 --max-requests-jitter 100 --count-requests notify "$@" \
    -- target/release/examples/worker --fd {fd} --notify
