"""What a pool of ours costs as it grows: to spawn, ask, replace, reload and stop."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable

from .arithmetic import Spread, number, quantile
from .ask import free_port, get
from .place import BUILT, Race
from .processes import Failed, Process, kill_all, processor_time, send, start, wait_for
from .report import Chart, Section, Table, noted

LIMIT = 120.0
# Of the endpoint, asked all the time.
PAUSE = 0.02


class Asked(threading.Thread):
    """How long `/readyz` takes while something else goes on."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port, self.times, self.ended = port, list[float](), threading.Event()
        self.start()

    def run(self) -> None:
        while not self.ended.wait(PAUSE):
            begin = time.perf_counter()
            try:
                get(self.port, "/readyz")
            except (OSError, ValueError):
                continue
            self.times.append(time.perf_counter() - begin)


class Pool:
    def __init__(self, race: Race, workers: int) -> None:
        self.race, self.workers, self.port = race, workers, free_port()
        directory = race.directory("scale")
        self.log, self.control = directory / "log", directory / "control"
        surge = str(max(workers // 10, 1))
        options = [
            "-n",
            str(workers),
            "-b",
            "127.0.0.1:0",
            "--max-surge",
            surge,
            "--control",
            str(self.control),
        ]
        options += ["--health", f"127.0.0.1:{self.port}", "--replacement-gap", "0s", "--drain-time", "50ms"]
        words = [
            str(race.binary),
            *options,
            "--start-timeout",
            "5m",
            "--",
            str(BUILT / "helper"),
            "listen",
            "{fd}",
        ]
        self.begun = time.perf_counter()
        self.process: Process = start(words, env={"PREFORK_LOG_FORMAT": "json"}, cwd=directory, log=self.log)
        self.asked = Asked(self.port)

    def lines(self, message: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if f'"message":"{message}' in line]

    def wait_count(self, message: str, count: int) -> None:
        def look() -> bool:
            if self.process.poll() is not None:
                raise Failed(f"it has ended with {self.process.returncode}")
            return len(self.lines(message)) >= count

        wait_for(f"{count} times {message!r}", look, LIMIT, 0.01)

    def own(self) -> float:
        return processor_time([self.process.pid])

    def spawn(self) -> None:
        self.wait_count("worker ready", self.workers)

    def status(self) -> None:
        words = [str(self.race.binary), "status", "--control", str(self.control)]
        subprocess.run(words, check=True, capture_output=True, timeout=60)

    def respawn(self) -> None:
        ready = len(self.lines("worker ready"))
        kill_all([int(json.loads(self.lines("worker ready")[0])["pid"])])
        self.wait_count("worker ready", ready + 1)

    def reload(self) -> None:
        send(self.process.pid, signal.SIGHUP)
        self.wait_count("reload finished", 1)

    def stop(self) -> None:
        send(self.process.pid, signal.SIGTERM)
        code = self.process.wait(LIMIT)
        if code:
            raise Failed(f"it has ended with {code}")

    def close(self) -> None:
        self.asked.ended.set()
        self.asked.join()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def phases(pool: Pool) -> dict[str, Callable[[], object]]:
    return {
        "spawn": pool.spawn,
        "scrape `/metrics`": lambda: get(pool.port, "/metrics", 60),
        "`/status`": lambda: get(pool.port, "/status", 60),
        "`prefork-init status`": pool.status,
        "respawn of one": pool.respawn,
        "reload": pool.reload,
        "stop": pool.stop,
    }


def life(race: Race, table: Table, workers: int, bars: dict[str, Spread]) -> None:
    pool = Pool(race, workers)
    try:
        for name, act in phases(pool).items():
            pool.asked.times.clear()
            before, begin = pool.own(), time.perf_counter()
            act()
            if name == "spawn":
                before, begin = 0, pool.begun
            took, spent = time.perf_counter() - begin, pool.own() - before
            asked = list(pool.asked.times)
            shown = [number(quantile(asked, part) * 1e3) if asked else "–" for part in (0.5, 1)]
            # Of what has ended nothing can be asked.
            own = number(spent * 1e3) if spent >= 0 else "–"
            table.add(f"{workers:,}", name, number(took * 1e3), own, number(took * 1e6 / workers), *shown)
            if name in ("spawn", "reload"):
                bars[f"prefork-init: {name}, {workers:,}"] = Spread(*[took * 1e3] * 3)
    finally:
        pool.close()


def run(race: Race) -> Section:
    head = [
        "workers",
        "what",
        "ms",
        "own processor time, ms",
        "µs a worker",
        "`/readyz` median, ms",
        "longest, ms",
    ]
    table = Table(head)
    bars: dict[str, Spread] = {}
    failed: dict[str, str] = {}
    for workers in race.effort.sizes:
        with noted(failed, f"{workers:,}"):
            life(race, table, workers, bars)
    table.not_run(failed)
    text = [
        "Workers that wait for connections and do nothing (benches/race/helper.c, `listen`), each with a listener of its own: "
        "`prefork-init -n N -b 127.0.0.1:0 --health 127.0.0.1:PORT --control PATH --max-surge 10% --replacement-gap 0s "
        "--drain-time 50ms`. A reload replaces a tenth at a time. Own: the supervisor alone. Meanwhile `/readyz` is asked "
        "every 20 ms. Of what a log line tells, 10 ms are the race's.",
    ]
    return Section("Pool: cost by size", text, [table], [Chart("pool-scale", "Spawn and reload", "ms", bars)])
