#!/usr/bin/env bash
# Proves Dockerfile.example and the static binary in a real Docker engine. By hand, as root, on Debian: it installs the
# engine if it is missing, and takes some minutes. The daemon is its own, in a temporary directory, and ends with it.
# No image is pulled: the two base images are made here, from Debian's packages and the Rust that is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "== $*"; }
die() { echo "tests/docker.sh: $*" >&2; exit 1; }

failures=0
# check WHAT WANTED GOT
check() {
    if [ "$2" = "$3" ]; then echo "PASS $1"; else echo "FAIL $1: $3, not $2"; failures=$((failures + 1)); fi
}
# within SECONDS COMMAND...: until it succeeds; says so, for check.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || { echo "not in time"; return; }
        sleep 0.1
    done
    echo yes
}
# took COMMAND...: sets `ms`. below LIMIT: whether that was less, for check.
took() {
    local start
    start=$(date +%s%3N)
    "$@" >/dev/null
    ms=$(($(date +%s%3N) - start))
}
below() { if [ "$ms" -lt "$1" ]; then echo yes; else echo "$ms ms"; fi; }

# --- The engine ---

[ "$(id -u)" = 0 ] || die "a Docker daemon needs root"
command -v cargo >/dev/null || die "cargo is missing: install Rust"
packages=()
for needed in dockerd:docker.io docker:docker.io debootstrap:debootstrap curl:curl nsenter:util-linux pgrep:procps tini-static:tini; do
    command -v "${needed%:*}" >/dev/null || packages+=("${needed#*:}")
done
if [ "${#packages[@]}" -gt 0 ]; then
    say "installing ${packages[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

work=$(mktemp -d /tmp/prefork-docker.XXXXXX)
# Before all else: no `docker` below may ever reach another daemon.
unset DOCKER_CONTEXT DOCKER_TLS_VERIFY
export DOCKER_HOST="unix://$work/socket"
daemon=
clean_up() {
    local code=$?
    trap - EXIT
    if [ -n "$daemon" ]; then
        docker ps -aq 2>/dev/null | xargs -r docker rm -f >/dev/null 2>&1 || true
        kill "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
    fi
    # What a daemon leaves mounted must not be looked into by rm.
    awk -v work="$work/" 'index($5, work) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount -l || true
    rm -rf --one-file-system "$work"
    exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# No bridge and no firewall rules: the host's network stays as it is, and containers have a loopback of their own.
# It dies with this script even if that is killed.
echo '{}' >"$work/daemon.json"
setpriv --pdeathsig TERM dockerd --config-file "$work/daemon.json" --host "$DOCKER_HOST" \
    --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/pid" \
    --init-path "$work/docker-init" --bridge none --iptables=false --ip6tables=false >"$work/dockerd.log" 2>&1 &
daemon=$!
[ "$(within 60 docker info)" = yes ] || { tail -20 "$work/dockerd.log" >&2; die "dockerd does not start"; }
say "dockerd $(docker info --format '{{.ServerVersion}}, {{.Driver}}, cgroup v{{.CgroupVersion}}')"

# --- The base images, under the names that the Dockerfile has ---

root=$work/root
packed=${CARGO_TARGET_DIR:-target}/docker-base.tar
if [ ! -f "$packed" ]; then
    say "making a base image (once: $packed)"
    debootstrap --variant=minbase --include=python3,python3-venv,gcc,libc6-dev,ca-certificates \
        bookworm "$root" >"$work/debootstrap.log" || { tail -20 "$work/debootstrap.log" >&2; die "debootstrap failed"; }
    # As in the real image: python and pip are in /usr/local, and pip installs there.
    chroot "$root" python3 -m venv /usr/local
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    mkdir -p "$(dirname "$packed")"
    tar -C "$root" -cf "$packed.new" . && mv "$packed.new" "$packed"
    rm -rf "$root"
fi
mkdir "$root"
tar -C "$root" -xf "$packed"
# How this machine reaches package registries is the machine's business: its certificates and settings come along, and
# how long its builds may take.
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
[ ! -f /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/"
settings=()
for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST PIP_CERT http_proxy https_proxy no_proxy \
    CARGO_PROFILE_RELEASE_LTO CARGO_PROFILE_RELEASE_CODEGEN_UNITS CARGO_PROFILE_RELEASE_OPT_LEVEL; do
    [ -z "${!name:-}" ] || settings+=(--change "ENV $name=${!name}")
done
import() { tar -C "$root" -c . | docker import ${settings[@]+"${settings[@]}"} - "$1" >/dev/null; }
import python:3.11-slim
(cd "$(rustc --print sysroot)" && cp -r --parents bin/cargo bin/rustc lib "$root/usr/local/")
import rust:1-slim-bookworm
rm -rf "$root"

# --- The images under test ---

build() {
    docker build --network host "$@" >"$work/build.log" 2>&1 || { tail -20 "$work/build.log" >&2; die "docker build failed"; }
}
tar --exclude=./target --exclude=./.git -cf "$work/context.tar" .
say "building Dockerfile.example"
build -f Dockerfile.example --target init -t prefork-built - <"$work/context.tar"
build -f Dockerfile.example -t prefork-example - <"$work/context.tar"
# As a user does it: another application is copied over ours. It knows nothing of us.
mkdir "$work/plain"
tar -C "$work/plain" -xf "$work/context.tar"
rm -r "$work"/plain/examples/fastapi_app/*
cp tests/docker/app.py "$work/plain/examples/fastapi_app/"
grep -v gunicorn examples/fastapi_app/requirements.txt >"$work/plain/examples/fastapi_app/requirements.txt"
# From a tar again: the daemon finds that it has built the first stage.
tar -C "$work/plain" -cf "$work/plain.tar" .
build -f Dockerfile.example -t prefork-plain - <"$work/plain.tar"

mkdir "$work/small"
docker cp "$(docker create prefork-built true):/prefork-init" "$work/small/prefork-init"
printf 'FROM scratch\nCOPY prefork-init /\nENTRYPOINT ["/prefork-init"]\n' >"$work/small/scratch.dockerfile"
printf 'FROM python:3.11-slim\nCOPY prefork-init /usr/local/bin/\nENTRYPOINT ["prefork-init", "--"]\n' \
    >"$work/small/init.dockerfile"
# The dynamic build, which needs the base's libc to be no older than this machine's: its own, then.
cargo build --release --quiet
cp "${CARGO_TARGET_DIR:-target}/release/prefork-init" "$work/small/prefork-init-dynamic"
mkdir "$work/small/libs"
for lib in $(ldd "$work/small/prefork-init-dynamic" | grep -o '/[^ ]*'); do cp -L --parents "$lib" "$work/small/libs/"; done
cat >"$work/small/dynamic.dockerfile" <<'END'
FROM scratch
COPY libs /
COPY prefork-init-dynamic /prefork-init
ENTRYPOINT ["/prefork-init"]
END
cat >"$work/small/dropin.dockerfile" <<'END'
FROM python:3.11-slim
COPY prefork-init /usr/bin/tini
COPY prefork-init /usr/bin/dumb-init
END
build -f "$work/small/scratch.dockerfile" -t prefork-scratch "$work/small"
build -f "$work/small/init.dockerfile" -t prefork-as-init "$work/small"
build -f "$work/small/dynamic.dockerfile" -t prefork-dynamic "$work/small"
build -f "$work/small/dropin.dockerfile" -t prefork-dropin "$work/small"

start() { docker run -d --network none "$@"; }
code_of() { docker wait "$(start "$@")"; }
hardened=(--read-only --cap-drop ALL --security-opt no-new-privileges)

say "FROM scratch, static and dynamic"
check "the static binary is not dynamic" "no" "$(if ldd "$work/small/prefork-init" >/dev/null 2>&1; then echo yes; else echo no; fi)"
check "the dynamic binary is" "yes" "$(if ldd "$work/small/prefork-init-dynamic" >/dev/null 2>&1; then echo yes; else echo no; fi)"
for image in prefork-scratch prefork-dynamic; do
    check "$image says its version" 0 "$(code_of "$image" --version)"
    # It is its own command: there is nobody else in there.
    for how in plain hardened; do
        options=()
        [ "$how" = plain ] || options=(--user 1001 "${hardened[@]}")
        run() { code_of ${options[@]+"${options[@]}"} "$image" "$@"; }
        what="$image, $how"
        check "$what: ends as its command, 0" 0 "$(run -- /prefork-init --version)"
        check "$what: ends as its command, 2" 2 "$(run -- /prefork-init --no-such-option)"
        check "$what: not found is 127" 127 "$(run -- /nothing)"
        check "$what: not executable is 126" 126 "$(run -- /etc)"
        check "$what: wrong usage is 2" 2 "$(run --no-such-option)"
        check "$what: explains itself" 0 "$(run --explain -- /prefork-init)"
        # A pause is a command that waits: nested, the one below is told.
        container=$(start ${options[@]+"${options[@]}"} "$image" -- /prefork-init --pause)
        sleep 1
        took docker stop "$container"
        check "$what: docker stop ends what it runs" 0 "$(docker wait "$container")"
        check "$what: docker stop took $ms ms, below 2000" yes "$(below 2000)"
    done
done

say "A healthcheck where there is nothing else"
container=$(start -e PREFORK_HEALTH=127.0.0.1:9000 prefork-scratch --pause)
check "healthcheck FROM scratch finds the endpoint" yes "$(within 10 docker exec "$container" /prefork-init healthcheck)"
code=0
docker exec "$container" /prefork-init healthcheck --health 127.0.0.1:9001 >/dev/null 2>&1 || code=$?
check "healthcheck where nobody answers" 1 "$code"
docker rm -f "$container" >/dev/null

say "Init mode"
check "exit 7 is 7" 7 "$(code_of prefork-as-init sh -c 'exit 7')"
check "killed by 9 is 137" 137 "$(code_of prefork-as-init sh -c 'kill -9 $$')"
container=$(start prefork-as-init sleep 1000)
sleep 1
took docker stop "$container"
check "docker stop of sleep 1000 is 143" 143 "$(docker wait "$container")"
check "docker stop of sleep 1000 took $ms ms, below 3000" yes "$(below 3000)"

# As long as the command needs, and no longer: not the ten seconds of `docker stop`.
slow="trap 'sleep 2; echo finished; exit 9' TERM; echo up; while :; do sleep 0.1; done"
left="setsid sh -c \"trap 'sleep 2; echo finished; exit' TERM; echo up; while :; do sleep 0.1; done\" & while :; do sleep 1; done"
is_up() { docker logs "$container" 2>/dev/null | grep -q up; }
# stops WHAT CODE LEAST MOST OPTIONS...: a container whose command needs two seconds.
stops() {
    local what=$1 code=$2 least=$3 most=$4
    shift 4
    container=$(start "$@")
    check "$what: it runs" yes "$(within 10 is_up)"
    took docker stop "$container"
    check "$what: exit code" "$code" "$(docker wait "$container")"
    check "$what: docker stop took $ms ms, from $least to $most" yes "$([ "$ms" -ge "$least" ] && below "$most")"
    check "$what: the work was finished" 1 "$(docker logs "$container" 2>/dev/null | grep -c finished)"
}
stops "a slow command" 9 1900 4000 prefork-as-init sh -c "$slow"
stops "a daemon left behind" 143 1900 4500 prefork-as-init sh -c "$left"
stops "read-only, unprivileged" 9 1900 4000 --user 1001 "${hardened[@]}" prefork-as-init sh -c "$slow"
stops "--pid host: not PID 1" 9 1900 4000 --pid host prefork-as-init sh -c "$slow"
stops "--pid host: a daemon left behind" 143 1900 4500 --pid host prefork-as-init sh -c "$left"
cp "$(command -v tini-static)" "$work/docker-init"
stops "--init, Docker's own, underneath" 9 1900 4000 --init prefork-as-init sh -c "$slow"
container=$(start --entrypoint prefork-init prefork-as-init --user www-data -- id -u)
docker wait "$container" >/dev/null
check "another user by --user" 33 "$(docker logs "$container")"

say "In the place of others"
for name in tini dumb-init; do
    stops "$name" 9 1900 4000 --entrypoint "$name" prefork-dropin -- sh -c "$slow"
    check "$name: exit 7 is 7" 7 "$(code_of --entrypoint "$name" prefork-dropin -- sh -c 'exit 7')"
    stops "$name with a graceful timeout waits for a daemon" 143 1900 4500 \
        -e PREFORK_GRACEFUL_TIMEOUT=8s --entrypoint "$name" prefork-dropin -- sh -c "$left"
done
check "dumb-init: not found is 2" 2 "$(code_of --entrypoint dumb-init prefork-dropin nothing-there)"
check "tini: not found is 127" 127 "$(code_of --entrypoint tini prefork-dropin nothing-there)"
# As docker-init: what `docker run --init` starts, without any option.
cp "$work/small/prefork-init" "$work/docker-init"
stops "docker run --init" 9 1900 4000 --init python:3.11-slim sh -c "$slow"
check "docker run --init: killed by 9 is 137" 137 "$(code_of --init python:3.11-slim sh -c 'kill -9 $$')"
stops "docker run --init with a graceful timeout" 143 1900 4500 --init -e PREFORK_GRACEFUL_TIMEOUT=8s \
    python:3.11-slim sh -c "$left"

say "The example"
# curl of the host in the network of the container: it outlives the container, as a client does.
inside() { nsenter --net --target "$pid" "$@"; }
status() { inside curl -s -m 10 -o /dev/null -w '%{http_code}' "http://127.0.0.1:$1"; }
is_ready() { [ "$(status 9000/readyz)" = 200 ]; }
is_healthy() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$container")" = healthy ]; }
workers() { pgrep -P "$pid" -f uvicorn | sort | xargs; }
has_replaced() { case " $(workers) " in *" $1 "*) return 1 ;; *\ *\ *\ *) true ;; *) return 1 ;; esac; }
have_answered() {
    seen+=$(inside curl -s -m 10 http://127.0.0.1:8000/)
    [[ $seen == *'"worker_id":0'* && $seen == *'"worker_id":1'* ]]
}
image=prefork-example command=()
begin() {
    container=$(start "$@" "$image" ${command[@]+"${command[@]}"})
    pid=$(docker inspect -f '{{.State.Pid}}' "$container")
    check "/readyz becomes 200" yes "$(within 60 is_ready)"
}

begin
check "PID 1 is not root" 1001 "$(stat -c %u "/proc/$pid")"
check "there are two workers" 2 "$(workers | wc -w)"
seen=
check "both workers answer" yes "$(within 30 have_answered)"
check "HEALTHCHECK becomes healthy" yes "$(within 60 is_healthy)"

victim=$(workers | cut -d ' ' -f 1)
kill -9 "$victim"
check "serves on after kill -9 of a worker" 200 "$(status 8000/)"
check "the killed worker is replaced" yes "$(within 30 has_replaced "$victim")"
seen=
check "its replacement answers" yes "$(within 30 have_answered)"

inside curl -s -m 10 -o /dev/null -w '%{http_code}' 'http://127.0.0.1:8000/slow?ms=2000' >"$work/slow" &
slow=$!
sleep 0.7
(sleep 0.7; status 9000/readyz >"$work/readyz" || true) &
asked=$!
took docker stop "$container"
wait "$slow" "$asked" || true
check "a request in flight at docker stop is answered" 200 "$(cat "$work/slow")"
check "/readyz is 503 while it stops" 503 "$(cat "$work/readyz")"
check "docker stop took $ms ms, as long as the request and below 6000" yes "$(below 6000)"
check "exit code after docker stop" 0 "$(docker wait "$container")"
check "the log ends with 'pool stopped'" yes "$(docker logs "$container" 2>&1 | tail -1 | grep -q 'pool stopped' && echo yes)"

say "The example, read-only and without any right"
begin "${hardened[@]}"
check "serves" 200 "$(status 8000/)"
took docker stop "$container"
check "docker stop took $ms ms, below 5000" yes "$(below 5000)"
check "exit code after docker stop" 0 "$(docker wait "$container")"

say "A plain application in its place"
is_logged() { docker logs "$container" 2>&1 | grep -q "$1"; }
# load: clients whose counts are in $work/counts when they end, at enough or because the server is gone.
load() {
    rm -f "$work/enough"
    inside python3 tests/docker/clients.py "$work/enough" >"$work/counts" 2>"$work/clients.log" &
    clients=$!
    check "$1: clients are served" yes "$(within 120 have_answered_some)"
}
have_answered_some() { [ "$(grep -c '^[0-9]' "$work/counts")" -ge 5 ]; }
# counted KIND WHAT
counted() { python3 -c 'import json, sys; print(json.loads(sys.argv[1])[sys.argv[2]].get(sys.argv[3], 0))' "$(tail -1 "$work/counts")" "$1" "$2"; }
# lost_nothing WHAT KIND...: of clients.
lost_nothing() {
    local what=$1 kind
    shift
    for kind; do check "$what: $kind, lost" 0 "$(counted "$kind" lost)"; done
    say "$what: $(tail -1 "$work/counts")"
}
all_replaced() {
    local worker
    [ "$(workers | wc -w)" = 2 ] || return
    for worker in $before; do case " $(workers) " in *" $worker "*) return 1 ;; esac; done
}
image=prefork-plain
begin
# Without a load balancer there is nobody to wait for.
found=$(docker exec "$container" prefork-init check --json -- uvicorn app:app --fd '{fd}' | python3 -c '
import json, sys
print(*(warning["id"] for warning in json.load(sys.stdin)["warnings"]))')
check "check finds nothing else" "no-drain-delay" "$found"
check "it may write beside its code and at home" 200 "$(status 8000/state)"
check "what it prints is in the log" yes "$(within 10 is_logged 'state was written')"

# under_load WHAT KIND...: the clients of these kinds lose nothing at a reload, nor at docker stop.
under_load() {
    local what=$1
    shift
    load "$what, HUP"
    before=$(workers)
    docker kill --signal HUP "$container" >/dev/null
    check "$what, HUP: both workers are replaced" yes "$(within 120 all_replaced)"
    touch "$work/enough"
    wait "$clients"
    lost_nothing "$what, HUP" "$@"
    check "$what, HUP: each, refused" 0 "$(counted each refused)"

    load "$what, docker stop"
    took docker stop "$container"
    wait "$clients"
    lost_nothing "$what, docker stop" "$@"
    check "$what: docker stop took $ms ms, below 6000" yes "$(below 6000)"
    check "$what: exit code after docker stop" 0 "$(docker wait "$container")"
    check "$what: the log ends with 'pool stopped'" yes "$(docker logs "$container" 2>&1 | tail -1 | grep -q 'pool stopped' && echo yes)"
}
# To clients that keep their connections docs/promises.md promises this with a goodbye alone, of which a plain server knows none.
under_load "as it comes" each
# Unless it says goodbye with each answer.
command=(uvicorn app:app --fd '{fd}' --header Connection:close)
begin
under_load "without keep-alive" each kept

[ "$failures" = 0 ] || die "$failures failed"
say "all passed"
