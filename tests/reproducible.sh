#!/usr/bin/env bash
# The static build is the same bytes from any folder, with cargo's own folder anywhere too. It builds all of it once more,
# without what was built before.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=$(cargo static --locked)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/another folder" "$root/home"
cp -r .cargo Cargo.toml Cargo.lock src "$root/another folder"
# With what was downloaded already.
ln -s "$(realpath "${CARGO_HOME:-$HOME/.cargo}")/registry" "$root/home/registry"
cd "$root/another folder"
other=$(CARGO_HOME=$root/home CARGO_TARGET_DIR=$root/built cargo static --locked)

if ! cmp "$binary" "$other"; then
    echo "tests/reproducible.sh: $(cmp -l "$binary" "$other" | wc -l) bytes depend on the folder" >&2
    exit 1
fi
echo "static binary: $(sha256sum <"$binary" | cut -d' ' -f1), from any folder"
