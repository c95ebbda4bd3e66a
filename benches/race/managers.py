"""What manages several workers, and how each is started, reloaded and asked to recycle."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .ask import free_port, get
from .place import APPS, OWN_APPS, Race, found
from .processes import Failed, Process, children, descendants, end, kill_all, send, start, wait_for

OURS = "prefork-init"
# A worker's limit of requests, where a manager recycles by that.
LIMIT = 1500


@dataclass
class Site:
    """Where one manager runs."""

    race: Race
    directory: Path
    port: int
    workers: int
    # Whether workers have a limit of requests.
    limited: bool = False

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        path = self.directory / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def limit(self, *words: str) -> list[str]:
        return [*words, str(LIMIT)] if self.limited else []

    @property
    def log(self) -> Path:
        return self.directory / "log"


def program(name: str) -> str:
    path = found(name)
    if path is None:
        raise Failed(f"`{name}` is missing")
    return str(path)


@dataclass
class Running:
    """A manager with workers that answer."""

    manager: Manager
    site: Site
    process: Process

    @property
    def pid(self) -> int:
        return self.process.pid

    def worker(self) -> int:
        """The worker that takes a new connection, by its pid."""
        return int(get(self.site.port, "/pid")[1])

    def see(self, seen: set[int]) -> set[int]:
        """Adds the worker that answers, or all children of a master whose idle workers need not take turns."""
        try:
            worker = self.worker()
            seen.update(children(self.pid) if self.manager.by_children else [worker])
        except (OSError, ValueError):
            pass
        return seen

    def workers(self) -> set[int]:
        """All of them, once all have answered."""
        seen: set[int] = set()

        def look() -> set[int] | None:
            self.must_live()
            return seen if len(self.see(seen)) >= self.site.workers else None

        return wait_for(f"answers of {self.site.workers} workers", look, 30, 0.003)

    def must_live(self) -> None:
        if self.process.poll() is not None:
            raise Failed(f"it has ended with {self.process.returncode}: {self.last_words()}")

    def last_words(self) -> str:
        text = self.site.log.read_text(errors="replace") if self.site.log.exists() else ""
        lines = [line for line in text.splitlines() if line.strip()]
        return lines[-1][:200] if lines else "no word"

    def managers(self, workers: set[int]) -> list[int]:
        """The processes that are there to manage: all but the workers and what is below those."""
        below = {pid for worker in workers for pid in [worker, *descendants(worker)]}
        return [pid for pid in [self.pid, *descendants(self.pid)] if pid not in below]

    def reload(self) -> None:
        """New workers for the old ones, by the manager's own means, until all old ones are gone."""
        old = self.workers()
        self.manager.reload(self)
        self.replaced(old, self.site.workers)

    def replaced(self, old: set[int], count: int, seconds: float = 30) -> None:
        """Waits until so many others have answered, and of the old ones so many are gone."""
        now: set[int] = set()

        def look() -> bool:
            self.must_live()
            gone = sum(not Path(f"/proc/{pid}").exists() for pid in old)
            return gone >= min(count, len(old)) and len(self.see(now) - old) >= count

        wait_for(f"{count} other workers", look, seconds, 0.01)

    def stop(self) -> None:
        below = descendants(self.pid)
        end(self.process, 20)
        kill_all(below)


@dataclass(frozen=True)
class Manager:
    name: str
    # The programs without which it cannot be.
    needs: tuple[str, ...]
    command: Callable[[Site], Sequence[str]]
    reload: Callable[[Running], None]
    # How workers are recycled: by their limit of requests, or by an order. Or why not.
    recycle: Callable[[Running], None] | None = None
    no_recycle: str = ""
    by_children: bool = False
    env: Callable[[Site], dict[str, str]] = field(default=lambda site: {})

    def start(self, race: Race, workers: int, limited: bool = False, ready: bool = True) -> Running:
        for need in self.needs:
            if need in race.missing:
                raise Failed(race.missing[need])
        site = Site(race, race.directory(self.name), free_port(), workers, limited)
        words = self.command(site)
        env = {"PYTHONPATH": str(APPS), "PORT": str(site.port), **self.env(site)}
        running = Running(self, site, start(words, env=env, cwd=site.directory, log=site.log))
        if ready:
            try:
                running.workers()
            except BaseException:
                running.stop()
                raise
        return running


def by_hup(running: Running) -> None:
    send(running.pid, signal.SIGHUP)


def by_limit(running: Running) -> None:
    """The clients' requests use workers up."""
    running.replaced(running.workers(), 2, 40)


def by(*words: str) -> Callable[[Running], None]:
    """By a client program of the manager."""

    def act(running: Running) -> None:
        filled = [word.format(dir=running.site.directory) for word in words[1:]]
        env = {**os.environ, **running.manager.env(running.site)}
        command = [program(words[0]), *filled]
        result = subprocess.run(command, env=env, cwd=running.site.directory, capture_output=True, timeout=60)
        if result.returncode:
            said = (result.stderr or result.stdout).decode(errors="replace").strip().splitlines()
            raise Failed(f"`{' '.join(words)}` ended with {result.returncode}: {said[-1] if said else ''}")

    return act


UVICORN = ("--log-level", "warning", "app:asgi")


def ours(*options: str, app: tuple[str, ...] = ()) -> Callable[[Site], list[str]]:
    def command(site: Site) -> list[str]:
        words = app or (program("uvicorn"), "--fd", "{fd}", *UVICORN)
        pool = [
            "-n",
            str(site.workers),
            "-b",
            site.address,
            "--control",
            str(site.directory / "control"),
            *options,
        ]
        return [str(site.race.binary), *pool, "--", *words]

    return command


def order(running: Running, *words: str) -> None:
    control = ["--control", str(running.site.directory / "control")]
    command = [str(running.site.race.binary), "ctl", *words, *control]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if result.returncode:
        raise Failed(f"`ctl {' '.join(words)}`: {(result.stderr or result.stdout).strip()}")


def by_order(running: Running) -> None:
    """Ours has no need of requests: every slot is recycled."""
    old = running.workers()
    for slot in range(running.site.workers):
        order(running, "recycle", str(slot))
    running.replaced(old, running.site.workers)


def hint(number: str) -> tuple[str, ...]:
    return ("--drain-signal", number, "--drain-time", "1s")


def uvicorn(site: Site) -> list[str]:
    limit = site.limit("--limit-max-requests")
    return [program("uvicorn"), "--workers", str(site.workers), "--port", str(site.port), *limit, *UVICORN]


def gunicorn(*kind: str) -> Callable[[Site], list[str]]:
    def command(site: Site) -> list[str]:
        words = [program("gunicorn"), "-w", str(site.workers), "-b", site.address, "--no-control-socket"]
        return [*words, "--log-level", "warning", *site.limit("--max-requests"), *kind]

    return command


def hypercorn(site: Site) -> list[str]:
    words = [program("hypercorn"), "-w", str(site.workers), "-b", site.address, "--log-level", "WARNING"]
    return [*words, *site.limit("--max-requests"), "app:asgi"]


def granian(site: Site) -> list[str]:
    where = ["--host", "127.0.0.1", "--port", str(site.port), "--workers", str(site.workers)]
    return [
        program("granian"),
        "--interface",
        "asgi",
        *where,
        "--respawn-failed-workers",
        "--log-level",
        "warning",
        "app:asgi",
    ]


CIRCUS = """
[circus]
endpoint = ipc://{dir}/endpoint
pubsub_endpoint = ipc://{dir}/pubsub
[watcher:web]
cmd = {command}
numprocesses = {workers}
use_sockets = {sockets}
copy_env = True
warmup_delay = 0
"""
CIRCUS_SOCKET = """
[socket:web]
host = 127.0.0.1
port = {port}
backlog = 2048
"""


def circus_of(site: Site, command: str, sockets: bool) -> list[str]:
    text = CIRCUS.format(dir=site.directory, command=command, workers=site.workers, sockets=sockets)
    text += CIRCUS_SOCKET.format(port=site.port) if sockets else ""
    return [program("circusd"), "--log-level", "warning", str(site.write("circus.ini", text))]


def circus(site: Site) -> list[str]:
    return circus_of(site, f"{program('uvicorn')} --fd $(circus.sockets.web) {' '.join(UVICORN)}", True)


SUPERVISORD = """
[supervisord]
nodaemon = true
user = root
logfile = {dir}/supervisord.log
pidfile = {dir}/pid
minfds = 8192
[unix_http_server]
file = {dir}/socket
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl = unix://{dir}/socket
[{kind}:web]
command = {command}
process_name = %(process_num)d
numprocs = {workers}
stdout_logfile = NONE
stderr_logfile = NONE
"""


def supervisord_of(site: Site, command: str, socket: bool) -> list[str]:
    kind = "fcgi-program" if socket else "program"
    text = SUPERVISORD.format(dir=site.directory, kind=kind, command=command, workers=site.workers)
    text += f"socket = tcp://{site.address}\n" if socket else ""
    return [program("supervisord"), "-c", str(site.write("supervisord.conf", text))]


def supervisord(site: Site) -> list[str]:
    """Its sockets are for FastCGI, but a socket is a socket: descriptor 0."""
    return supervisord_of(site, f"{program('uvicorn')} --fd 0 {' '.join(UVICORN)}", True)


NGINX = """
daemon off;
worker_processes {workers};
pid {dir}/pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests {limit};
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    server {{
        listen {address} backlog=2048;
        location = /pid {{ return 200 $pid; }}
        location ~ ^/echo/(.*)$ {{ return 200 $1; }}
    }}
}}
"""


def nginx(site: Site) -> list[str]:
    text = NGINX.format(dir=site.directory, workers=site.workers, address=site.address, limit=1_000_000)
    return [
        program("nginx"),
        "-e",
        "stderr",
        "-p",
        str(site.directory),
        "-c",
        str(site.write("nginx.conf", text)),
    ]


def pm2(site: Site) -> list[str]:
    return [program("pm2-runtime"), "start", str(OWN_APPS / "port.js"), "-i", str(site.workers)]


def pm2_env(site: Site) -> dict[str, str]:
    return {
        "PM2_HOME": str(site.directory / "pm2"),
        "PORT": str(site.port),
        "PM2_DISABLE_VERSION_CHECK": "true",
    }


PHP = """
[global]
error_log = {dir}/php.log
daemonize = no
[www]
listen = {dir}/php.sock
pm = static
pm.max_children = {workers}
"""


def php(site: Site) -> list[str]:
    text = PHP.format(dir=site.directory, workers=site.workers)
    root = ["-R"] if os.geteuid() == 0 else []
    user = "user = root\ngroup = root\n" if root else ""
    return [program("php-fpm"), "-n", "--nodaemonize", *root, "-y", str(site.write("php.conf", text + user))]


def services(site: Site, command: str) -> Path:
    """A directory for each worker, as runit and s6 want them."""
    scan = site.directory / "scan"
    for number in range(site.workers):
        (scan / str(number)).mkdir(parents=True)
        run = scan / str(number) / "run"
        run.write_text(f"#!/bin/sh\nexec {command}\n")
        run.chmod(0o755)
    return scan


def with_port(site: Site) -> str:
    return f"{program('uvicorn')} --port {site.port} {' '.join(UVICORN)}"


def nothing(running: Running) -> None:
    raise Failed("it has no reload")


NO_LIMIT = "no limit of requests"
NODE = ("node", str(APPS / "server.js"))

PREFORK = Manager(OURS, ("uvicorn",), ours(), by_hup, by_order)
# With a goodbye for clients that keep their connections: docs/promises.md.
PREFORK_HINT = replace(PREFORK, name=f"{OURS}, drain signal", command=ours(*hint("USR2")))
PREFORK_SHARED = replace(PREFORK, name=f"{OURS}, shared listener", command=ours("--listener", "shared"))
PREFORK_NODE = replace(
    PREFORK_HINT, name=f"{OURS} (node)", needs=("node",), command=ours(*hint("USR2"), app=NODE)
)
UVICORNS = Manager("uvicorn --workers", ("uvicorn",), uvicorn, by_hup, by_limit)
GUNICORN = Manager(
    "gunicorn (uvicorn-worker)",
    ("gunicorn", "uvicorn"),
    gunicorn("-k", "uvicorn_worker.UvicornWorker", "app:asgi"),
    by_hup,
    by_limit,
)
GUNICORN_ASGI = replace(GUNICORN, name="gunicorn -k asgi", command=gunicorn("-k", "asgi", "app:asgi"))
GTHREAD = replace(
    GUNICORN, name="gunicorn -k gthread", command=gunicorn("-k", "gthread", "--threads", "8", "app:wsgi")
)
HYPERCORN = Manager("hypercorn", ("hypercorn",), hypercorn, by_hup, by_limit)
GRANIAN = Manager(
    "granian", ("granian",), granian, by_hup, no_recycle=f"{NO_LIMIT}, a worker's life is 60 s or more"
)
CIRCUSD = Manager(
    "circus",
    ("circusd", "uvicorn"),
    circus,
    by("circusctl", "--endpoint", "ipc://{dir}/endpoint", "reload", "web"),
    no_recycle=NO_LIMIT,
)
SUPERVISOR = Manager(
    "supervisord",
    ("supervisord", "uvicorn"),
    supervisord,
    by("supervisorctl", "-c", "{dir}/supervisord.conf", "restart", "web:*"),
    no_recycle=NO_LIMIT,
)
NGINXS = Manager("nginx", ("nginx",), nginx, by_hup, no_recycle=NO_LIMIT, by_children=True)
PM2 = Manager(
    "pm2 (node)", ("pm2", "node"), pm2, by("pm2", "reload", "all"), no_recycle=NO_LIMIT, env=pm2_env
)
# They keep one process each and have no sockets for it: one worker, that binds the port itself.
RUNIT = Manager(
    "runit",
    ("runsvdir", "uvicorn"),
    lambda site: [program("runsvdir"), str(services(site, with_port(site)))],
    nothing,
)
S6 = Manager(
    "s6",
    ("s6-svscan", "uvicorn"),
    lambda site: [program("s6-svscan"), str(services(site, with_port(site)))],
    nothing,
)
# It speaks FastCGI, not HTTP.
PHP_FPM = Manager("php-fpm", ("php-fpm",), php, nothing)

POOLS = (
    PREFORK,
    UVICORNS,
    GUNICORN,
    GUNICORN_ASGI,
    GTHREAD,
    HYPERCORN,
    GRANIAN,
    CIRCUSD,
    SUPERVISOR,
    NGINXS,
    PM2,
)
SINGLE = (RUNIT, S6)


def sleepers(worker: str) -> dict[str, Manager]:
    """Managers of workers that do nothing: this command."""

    def pool(site: Site) -> list[str]:
        options = [
            "-n",
            str(site.workers),
            "--ready",
            "delay:1ms",
            "--control",
            str(site.directory / "control"),
        ]
        return [str(site.race.binary), *options, "--", *worker.split()]

    made = {
        OURS: replace(PREFORK, needs=("helper",), command=pool),
        "supervisord": replace(SUPERVISOR, command=lambda site: supervisord_of(site, worker, False)),
        "circus": replace(CIRCUSD, command=lambda site: circus_of(site, worker, False)),
        "runit": replace(RUNIT, command=lambda site: [program("runsvdir"), str(services(site, worker))]),
        "s6": replace(
            S6, command=lambda site: [program("s6-svscan"), "-c", "2048", str(services(site, worker))]
        ),
    }
    needs = {"supervisord": "supervisord", "circus": "circusd", "runit": "runsvdir", "s6": "s6-svscan"}
    return {name: replace(it, needs=(needs[name],)) if name in needs else it for name, it in made.items()}
