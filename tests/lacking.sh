#!/usr/bin/env bash
# tests/install.sh where something is missing: it installs that and nothing else, or fails and names it in one line.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The certificates are this machine's business.
export SSL_CERT_FILE=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}

# machine USER_ID MISSING...: one with all programs of this one but those, with `apt-get` and `sudo` that write down what
# they are asked for. apt-get installs `cc` and `strace`.
machine() {
    rm -rf "$work/bin" "$work/asked"
    mkdir "$work/bin"
    touch "$work/asked"
    local path
    while read -r path; do
        [ ! -d "$path" ] || find "$path/" -maxdepth 1 -xtype f -executable -exec ln -sft "$work/bin" {} +
    done < <(tr : '\n' <<<"$PATH" | tac)
    program id "echo $1"
    program sudo "echo sudo >>$work/asked; exec \"\$@\""
    program apt-get "echo \"\$*\" >>$work/asked
case \"\$*\" in *install*gcc*) ln -s $(command -v cc) $work/bin/cc ;; *install*strace*) ln -s $(command -v strace) $work/bin/strace ;; esac"
    shift
    [ "$#" = 0 ] || (cd "$work/bin" && rm -f "$@")
}
program() {
    rm -f "$work/bin/$1"
    printf '#!%s\n%s\n' "$(command -v bash)" "$2" >"$work/bin/$1"
    chmod +x "$work/bin/$1"
}
# try CODE LINES WHAT [WORD]: how it ends, how many lines it says, with what in them.
try() {
    local code=0 said
    said=$(PATH=$work/bin tests/install.sh ${4:+"$4"} 2>&1) || code=$?
    [ "$code" = "$1" ] && [ "$(grep -c . <<<"$said")" = "$2" ] && [[ "$said" == *"$3"* ]] || {
        printf 'tests/lacking.sh: exit code %s, not %s, or not %s lines with "%s":\n%s\n' "$code" "$1" "$2" "$3" "$said" >&2
        exit 1
    }
}
# asked LINES: of apt-get and sudo, as written down.
asked() { diff <(printf '%s' "$1") "$work/asked" >&2 || { echo "tests/lacking.sh: apt-get was asked for that" >&2; exit 1; }; }

machine 0
try 0 0 "" build
asked ""
machine 0 cargo
try 1 1 "https://rustup.rs" build
machine 0
program cargo 'echo cargo 1.63.0'
try 1 1 "this is Rust 1.63.0: install 1.88" build
asked ""

machine 0 cc apt-get
try 1 1 "apt-get install gcc libc6-dev" build
machine 1000 cc sudo
try 1 1 "apt-get install gcc libc6-dev" build
asked ""
# There is a compiler, but nothing to link with.
machine 0 apt-get
program cc 'exit 1'
try 1 1 "C compiler" build
machine 0 cc
try 0 1 "installs gcc libc6-dev" build
asked '-qq update
-qq install -y --no-install-recommends gcc libc6-dev
'
machine 1000 cc
try 0 1 "installs gcc libc6-dev" build
asked 'sudo
-qq update
sudo
-qq install -y --no-install-recommends gcc libc6-dev
'
machine 0 strace
try 0 1 "installs strace"
asked '-qq update
-qq install -y --no-install-recommends strace
'
# It says that it has installed it, and has not.
machine 0 groff
try 1 2 "is missing, though apt-get has installed groff-base: groff"
echo "tests/install.sh: installs what is missing, or says what"
