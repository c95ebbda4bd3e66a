#!/usr/bin/env bash
# Runs in the machine of tests/vm.sh, as a service of its systemd.
set -uo pipefail
ip link set lo up
export PYTHONPATH=/opt/site
cd /opt/app || exit 1
failures=0
check() {
    if [ "$2" = "$3" ]; then echo "$1: $3"; else echo "$1: $3, not $2"; failures=$((failures + 1)); fi
}
# Everything is some ten times slower than outside.
wait_for() {
    for _ in $(seq 400); do
        ! grep -q "$1" "$2" || return 0
        sleep 0.5
    done
    echo "never came: $1"
    cat "$2"
    failures=$((failures + 1))
}

uname -r
python3 - <<'P'
import ctypes, os
FINIT_MODULE = 313
for module in ("inet_diag", "tcp_diag", "unix_diag"):
    file = os.open("/opt/modules/%s.ko" % module, os.O_RDONLY)
    ctypes.CDLL(None).syscall(FINIT_MODULE, file, b"", 0)
P

cat >app.py <<'P'
import asyncio
async def app(scope, receive, send):
    if scope["type"] != "http": return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    if scope["path"] == "/slow": await asyncio.sleep(40)
    await send({"type": "http.response.body", "body": b"ok"})
P
cat >plain.py <<'P'
import http.server, socket, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(8)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=3)
server.serve_forever()
P

echo "== a server without a handler of the stop signal answers what it has in hand"
prefork-init -n 1 -b 127.0.0.1:8001 -- python3 plain.py 2>log & pool=$!
wait_for "pool ready" log
for signal in HUP TERM; do
    curl -sS -m 100 -o /dev/null -w "%{http_code}" 127.0.0.1:8001/ >code & client=$!
    sleep 3
    kill -"$signal" "$pool"
    wait "$client"
    check "the answer after $signal" 200 "$(cat code)"
    [ "$signal" = TERM ] || wait_for "reload finished" log
done
wait "$pool"
check "the pool's code" 0 $?
check "warnings" "" "$(grep -v " INFO \|^127" log)"

echo "== a worker that takes no connections any more gets none"
prefork-init -n 2 -b 127.0.0.1:8002 -- python3 -m uvicorn app:app --fd {fd} --lifespan off --no-access-log 2>log & pool=$!
wait_for "worker ready slot=0" log
wait_for "worker ready slot=1" log
for _ in 1 2 3 4 5 6; do curl -s -m 100 127.0.0.1:8002/slow >/dev/null & done
sleep 3
read -r victim _ <"/proc/$pool/task/$pool/children"
kill -TERM "$victim"
sleep 1
answered=0
for _ in $(seq 20); do
    ! curl -s -m 30 -o /dev/null 127.0.0.1:8002/ || answered=$((answered + 1))
done
check "answered of 20" 20 "$answered"
kill -TERM "$pool"; sleep 1; kill -INT "$pool"; kill -INT "$pool"
wait "$pool"

echo "== systemd stops everybody at once"
cat >/etc/systemd/system/web.service <<'U'
[Service]
Type=notify
Environment=PYTHONPATH=/opt/site
WorkingDirectory=/opt/app
ExecStart=/usr/local/bin/prefork-init -n 2 -b 127.0.0.1:8003 -- python3 -m uvicorn app:app --fd {fd} --lifespan off --no-access-log
U
systemctl daemon-reload
systemctl start web
check "the start" 0 $?
journalctl -u web -o cat --no-pager >log
for _ in $(seq 200); do
    [ "$(grep -c "worker ready" log)" -lt 2 ] || break
    sleep 0.5
    journalctl -u web -o cat --no-pager >log
done
systemctl stop web
check "the stop" 0 $?
journalctl -u web -o cat --no-pager >log
check "errors and warnings" "" "$(grep " ERROR \| WARN " log)"
check "workers that were stopped" 2 "$(grep -c "worker exited.*reason=stop" log)"
check "the result" "Result=success" "$(systemctl show web -p Result)"

[ "$failures" != 0 ] || echo "all of it held"
systemctl poweroff -ff
