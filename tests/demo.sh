#!/usr/bin/env bash
# The README's first command, as a new user runs it: it shows its build, serves, its endpoint answers, and TERM ends it
# with 0.
set -euo pipefail
cd "$(dirname "$0")/.."

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
serve=127.0.0.1:$(port)
health=127.0.0.1:$(port)
said=$(mktemp)
PREFORK_BIND=$serve PREFORK_HEALTH=$health examples/demo.sh 2>"$said" &
demo=$!
trap 'kill -KILL $demo 2>/dev/null || true; cat "$said" >&2; rm -f "$said"' EXIT

python3 - "$serve" "$health" "$demo" <<'PYTHON'
import json, os, sys, time, urllib.request

serve, health, pid = sys.argv[1], sys.argv[2], int(sys.argv[3])

def get(address, path):
    with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
        return json.load(answer)

# The first run builds.
deadline = time.monotonic() + 900
while True:
    try:
        ready = get(health, "/readyz")["ready"]
        break
    except OSError:
        os.kill(pid, 0)
        assert time.monotonic() < deadline, "never ready"
        time.sleep(0.2)
assert ready >= 1, ready
workers = {get(serve, "/")["worker_id"] for _ in range(200)}
assert workers <= {0, 1} and workers, workers
print(f"demo: ready, served 200 requests by workers {sorted(workers)}")
PYTHON

# What cargo says, if it is let.
grep -q ' Finished ' "$said" || { echo "tests/demo.sh: the build was silent" >&2; exit 1; }
grep -qF "serves http://$serve, health at http://$health/readyz" "$said"

kill -TERM $demo
code=0
wait $demo || code=$?
[ "$code" = 0 ] || { echo "tests/demo.sh: exit code $code after TERM" >&2; exit 1; }
