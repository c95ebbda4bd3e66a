#!/usr/bin/env bash
# Looks for what is needed here, and installs on Debian what is missing: by apt-get, with sudo where that needs it.
#
#     tests/install.sh build    for a build: Rust, a linker, the C library
#     tests/install.sh          for every test too
#
# Where nothing is missing it needs neither the network nor root. Whatever is missing in the end is named, and an error.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "tests/install.sh: $*" >&2; }
die() { say "$*"; exit 1; }

what=${1:-all}
[ "$what" = build ] || [ "$what" = all ] || die "'$what': there is \`build\`, or nothing for everything"

# Rust is what a user brings along: which one, and from where, is not for us to say.
wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
command -v cargo >/dev/null || die "cargo is missing: install Rust $wanted or newer, see https://rustup.rs"
found=$(cargo --version | cut -d ' ' -f 2)
[ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ] ||
    die "this is Rust $found: install $wanted or newer, see https://rustup.rs"

# A program is linked, with these options: `cc` may be there without the C library (gcc only recommends it).
links() {
    local dir code=0
    dir=$(mktemp -d)
    echo 'int main(void) { return 0; }' >"$dir/main.c"
    cc "$@" -o "$dir/main" "$dir/main.c" 2>/dev/null || code=1
    rm -r "$dir"
    return "$code"
}
# For crates that are still to be fetched.
has_certificates() {
    [ -n "${SSL_CERT_FILE:-}" ] || [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/certs/ca-bundle.crt ]
}

# Sets `missing`, in names for people, and `packages`, in Debian's.
look() {
    missing=() packages=()
    need() {
        local name=$1
        shift
        missing+=("$name")
        packages+=("$@")
    }
    links || need "a C compiler (cc: Rust links with it)" gcc libc6-dev
    has_certificates || need "certificates" ca-certificates
    [ "$what" = all ] || return 0

    links -static || need "the static C library" gcc libc6-dev
    local pair
    for pair in python3:python3 strace:strace ss:iproute2 ps:procps curl:curl node:nodejs groff:groff-base \
        unshare:util-linux setpriv:util-linux nsenter:util-linux prlimit:util-linux script:bsdutils \
        bash:bash zsh:zsh fish:fish systemd-analyze:systemd systemd-socket-activate:systemd \
        tini:tini dumb-init:dumb-init catatonit:catatonit; do
        command -v "${pair%%:*}" >/dev/null || need "${pair%%:*}" "${pair##*:}"
    done
    # Debian has it in a package of its own; without it there is no virtual environment.
    python3 -c 'import ensurepip' 2>/dev/null || need "ensurepip of python3" python3-venv
}

look
if [ "${#packages[@]}" -gt 0 ]; then
    as_root=()
    mapfile -t packages < <(printf '%s\n' "${packages[@]}" | sort -u)
    by_hand="is missing: $(printf '%s, ' "${missing[@]}" | sed 's/, $//'). As root: apt-get install ${packages[*]}"
    command -v apt-get >/dev/null || die "$by_hand (or what they are called where there is no apt-get)"
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || die "$by_hand"
        as_root=(sudo)
    fi
    apt=(${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive apt-get -qq)
    say "installs ${packages[*]}"
    "${apt[@]}" update || say "apt-get update failed: goes on with the lists that are there"
    "${apt[@]}" install -y --no-install-recommends "${packages[@]}" || die "$by_hand"
    hash -r
    look
    [ "${#missing[@]}" = 0 ] || die "is missing, though apt-get has installed ${packages[*]}: ${missing[*]}"
fi

# Rust's own tools come with Rust, if not in its smallest form.
if [ "$what" = all ]; then
    components=()
    cargo fmt --version >/dev/null 2>&1 || components+=(rustfmt)
    cargo clippy --version >/dev/null 2>&1 || components+=(clippy)
    if [ "${#components[@]}" -gt 0 ]; then
        command -v rustup >/dev/null || die "is missing: ${components[*]}, components of Rust"
        say "installs ${components[*]}"
        rustup component add "${components[@]}"
    fi
fi
