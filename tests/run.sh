#!/usr/bin/env bash
# The one test command: installs what the tests need into target/, checks format, lints and docs, and runs every
# test. Needs Rust, Python 3 with venv, and util-linux (unshare). As root, or where user namespaces are allowed.
set -euo pipefail
cd "$(dirname "$0")/.."

need() {
    command -v "$1" >/dev/null || { echo "tests/run.sh: $1 is missing: $2" >&2; exit 1; }
}
need cargo "install Rust"
need python3 "install Python 3"
need unshare "install util-linux"
need setpriv "install util-linux"
need ss "install iproute2"
need strace "install strace"
need node "install nodejs"
for shell in zsh fish; do need "$shell" "install $shell: completions are tried in it"; done
need groff "install groff-base: the man page is formatted by it"
need systemd-socket-activate "install systemd: its tools are asked about socket activation and units"
for original in tini dumb-init catatonit; do
    need "$original" "install $original: the contract tests compare us with it"
done

# PID namespaces are what most tests are about: without them nothing would be tested.
if ! unshare --pid --fork --mount-proc --kill-child true 2>/dev/null &&
    ! unshare --user --map-root-user --pid --fork --mount-proc --kill-child true 2>/dev/null; then
    echo "tests/run.sh: no PID namespace can be made here: run as root, or allow user namespaces" >&2
    exit 1
fi

# The real servers, in the versions that the examples pin.
venv=${PREFORK_TEST_VENV:-$PWD/target/venv}
export PREFORK_TEST_VENV=$venv
wanted=$(cat examples/fastapi_app/requirements.txt tests/requirements.txt)
if [ ! -x "$venv/bin/uvicorn" ] || [ "$(cat "$venv/prefork-wanted" 2>/dev/null)" != "$wanted" ]; then
    mkdir -p "$(dirname "$venv")"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check \
        -r examples/fastapi_app/requirements.txt -r tests/requirements.txt
    printf '%s\n' "$wanted" >"$venv/prefork-wanted"
fi

cargo fmt --check
cargo clippy --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --quiet
cargo test
tests/static.sh
tests/demo.sh
