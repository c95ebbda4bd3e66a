#!/usr/bin/env bash
# The one test command: installs what it lacks (tests/install.sh: Debian's packages; the real servers into target/venv),
# checks format, lints and docs, and runs every test. On a machine with Rust and Python 3, as root or with sudo. Where
# nothing is missing it needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."

tests/install.sh

# Tests make PID namespaces, mount, and become other users. They alone run as root; what is built is the user's.
as_root=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "tests/run.sh: the tests need root: run this as root, or install sudo" >&2; exit 1; }
    as_root=(sudo)
    tuple=$(rustc --print host-tuple)
    export "CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<<"$tuple")_RUNNER=tests/as_root.sh"
fi
if ! why=$(${as_root[@]+"${as_root[@]}"} unshare --pid --fork --mount-proc --kill-child true 2>&1); then
    echo "tests/run.sh: no PID namespace can be made here, and most tests are about PID 1: $why" >&2
    exit 1
fi

# The real servers, in the versions that the examples pin.
venv=${PREFORK_TEST_VENV:-$PWD/target/venv}
export PREFORK_TEST_VENV=$venv
wanted=$(cat examples/fastapi_app/requirements.txt tests/requirements.txt)
if [ "$(cat "$venv/prefork-wanted" 2>/dev/null)" != "$wanted" ] || ! "$venv/bin/python" -c 'import uvicorn' 2>/dev/null; then
    echo "tests/run.sh: installs uvicorn, gunicorn and hypercorn into $venv" >&2
    mkdir -p "$(dirname "$venv")"
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check \
        -r examples/fastapi_app/requirements.txt -r tests/requirements.txt
    printf '%s\n' "$wanted" >"$venv/prefork-wanted"
fi

cargo fmt --all --check
# What is shipped has no `generate`; what is tested has, so that all is built once.
cargo clippy -- -D warnings
cargo clippy --workspace --all-targets --features generate -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

log=$(mktemp)
trap 'rm -f "$log"' EXIT
code=0
# Tests mostly wait for what others do.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) * 2))}
cargo test --workspace --features generate --no-fail-fast | tee "$log" || code=$?
counts=$(awk '/^test result: / { passed += $4; failed += $6; ignored += $8 }
    END { printf "%d tests passed, %d failed, %d ignored", passed, failed, ignored }' "$log")
if [ "$code" != 0 ]; then
    grep '^test .* FAILED$' "$log" || true
    echo "tests/run.sh: $counts"
    exit "$code"
fi
tests/static.sh
tests/lacking.sh
tests/demo.sh
echo "tests/run.sh: $counts; the static build, the demo and what installs are good too"
