#!/usr/bin/env python3
"""The figures of size, memory and speed, side by side with tini in one run. Linux, root or not.

    benches/figures.py path/to/static/prefork-init

Timings are taken in turn, A B A B ..., and given as ratios of medians: machines differ and drift, ratios less so.
Needs tini-static, tini, strace and, for the last figure, uvicorn in target/venv (tests/run.sh installs it).
"""
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

BINARY = os.path.abspath(sys.argv[1])
HERE = os.path.dirname(os.path.abspath(__file__))


def child_of(pid):
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        text = open(f"/proc/{pid}/task/{pid}/children").read().split()
        if text:
            return int(text[0])
        time.sleep(0.01)
    raise SystemExit(f"{pid} has no child")


def anonymous(args):
    process = subprocess.Popen(args, stderr=subprocess.DEVNULL)
    child_of(process.pid)
    time.sleep(0.5)
    if "--health" in args:
        port = int(args[args.index("--health") + 1].rsplit(":", 1)[1])
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                while client.recv(4096):
                    pass
    text = open(f"/proc/{process.pid}/smaps_rollup").read()
    process.terminate()
    process.wait()
    return int(re.search(r"^Anonymous:\s+(\d+)", text, re.M)[1])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_up(args):
    begin = time.perf_counter()
    pid = os.posix_spawn(args[0], args, os.environ)
    os.waitpid(pid, 0)
    return time.perf_counter() - begin


def in_turn(measure, subjects, rounds):
    taken = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, subject in subjects.items():
            taken[name].append(measure(subject))
    return {name: statistics.median(values) for name, values in taken.items()}


RECEIVER = r"""
import signal, os, time
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
os.write(1, b"r")
while True:
    signal.sigwaitinfo({signal.SIGUSR1})
    os.write(1, b"%d\n" % time.perf_counter_ns())
"""


class Forwarder:
    """An init with a child that tells when a signal has reached it."""

    def __init__(self, args):
        self.process = subprocess.Popen([*args, sys.executable, "-c", RECEIVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout.read(1) == b"r"

    def latency(self):
        time.sleep(0.002)
        begin = time.perf_counter_ns()
        os.kill(self.process.pid, signal.SIGUSR1)
        return int(self.process.stdout.readline()) - begin


def idle_wake_ups():
    with tempfile.NamedTemporaryFile("r") as trace:
        process = subprocess.Popen([BINARY, "sleep", "100"], stderr=subprocess.DEVNULL)
        child_of(process.pid)
        time.sleep(0.5)
        tracer = subprocess.Popen(["strace", "-o", trace.name, "-p", str(process.pid)], stderr=subprocess.DEVNULL)
        time.sleep(10)
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
        process.terminate()
        process.wait()
        lines = [line for line in trace.read().splitlines() if line and not line.startswith("---")]
    # The one line is the wait in which strace found it, unfinished.
    return max(0, len(lines) - 1)


APP = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""


class Server:
    def __init__(self, args, port, cwd):
        self.process = subprocess.Popen(args, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                self.client = socket.create_connection(("127.0.0.1", port))
                self.client.settimeout(10)
                self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.request()
                return
            except OSError:
                assert time.monotonic() < deadline, args
                time.sleep(0.05)

    def request(self):
        begin = time.perf_counter()
        self.client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        data = b""
        while not data.endswith(b"\r\n\r\nok"):
            part = self.client.recv(4096)
            if not part:
                raise OSError("closed")
            data += part
        return time.perf_counter() - begin

    def close(self):
        self.client.close()
        self.process.terminate()
        self.process.wait()


def keep_alive():
    uvicorn = os.path.join(HERE, "../target/venv/bin/uvicorn")
    if not os.path.exists(uvicorn):
        return None
    with tempfile.TemporaryDirectory() as cwd:
        with open(os.path.join(cwd, "app.py"), "w") as file:
            file.write(APP)
        quiet = ["--log-level", "warning", "--lifespan", "off"]
        alone, pooled = free_port(), free_port()
        servers = {
            "alone": Server([uvicorn, "app:app", "--port", str(alone), *quiet], alone, cwd),
            "pooled": Server([BINARY, "-n", "1", "-b", f"127.0.0.1:{pooled}", "--", uvicorn, "app:app", "--fd", "{fd}", *quiet], pooled, cwd),
        }
        medians = in_turn(lambda server: server.request(), servers, 3000)
        for server in servers.values():
            server.close()
        return medians


def main():
    print(f"size: {os.path.getsize(BINARY):,} bytes")
    health = ["--health", f"127.0.0.1:{free_port()}"]
    memory = {
        "prefork-init": anonymous([BINARY, "sleep", "100"]),
        "with endpoint, 5 requests": anonymous([BINARY, *health, "--", "sleep", "100"]),
        "tini-static": anonymous(["tini-static", "-s", "sleep", "100"]),
    }
    for name, size in memory.items():
        print(f"anonymous memory, {name}: {size} kB")

    tini_static = "/usr/bin/tini-static"
    times = in_turn(start_up, {"ours": [BINARY, "/bin/true"], "tini-static": [tini_static, "-s", "/bin/true"]}, 800)
    ratio = times["ours"] / times["tini-static"]
    print(f"X -- true: {times['ours'] * 1e6:.0f} us, tini-static {times['tini-static'] * 1e6:.0f} us, ratio {ratio:.2f}")

    forwarders = {"ours": Forwarder([BINARY]), "tini": Forwarder(["tini", "-s", "--"])}
    times = in_turn(lambda forwarder: forwarder.latency(), forwarders, 3000)
    print(f"signal to child: {times['ours'] / 1e3:.0f} us, tini {times['tini'] / 1e3:.0f} us, ratio {times['ours'] / times['tini']:.2f}")
    for forwarder in forwarders.values():
        forwarder.process.terminate()
        forwarder.process.wait()

    print(f"system calls in 10 idle seconds: {idle_wake_ups()}")

    times = keep_alive()
    if times is None:
        print("keep-alive: not measured, target/venv/bin/uvicorn is missing")
    else:
        ratio = times["pooled"] / times["alone"]
        print(f"keep-alive request: {times['pooled'] * 1e6:.0f} us in the pool, {times['alone'] * 1e6:.0f} us alone, ratio {ratio:.2f}")


main()
