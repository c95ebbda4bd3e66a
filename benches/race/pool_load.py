"""Throughput and latency of the same application under each manager."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field

from .arithmetic import Spread, number
from .managers import CIRCUSD, GUNICORN, PM2, PREFORK, PREFORK_NODE, PREFORK_SHARED, SUPERVISOR, UVICORNS
from .managers import Manager, Running, program
from .place import Race
from .processes import Failed, descendants, processor_time
from .report import Chart, Section, Table, noted
from .turns import in_turn

WORKERS = 2
CONNECTIONS = 16
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass
class Load:
    """One manager under wrk; what the rounds gave besides requests a second."""

    running: Running
    seconds: float
    close: bool
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    errors: int = 0

    def measure(self) -> float:
        words = [program("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{self.seconds:.0f}s", "--latency"]
        words += ["-H", "Connection: close"] if self.close else []
        words.append(f"http://{self.running.site.address}/echo/1")
        pids = [self.running.pid, *descendants(self.running.pid)]
        before = processor_time(pids)
        said = subprocess.run(words, capture_output=True, text=True, timeout=60).stdout
        spent = processor_time(pids) - before
        rate, total = re.search(r"Requests/sec:\s*([\d.]+)", said), re.search(r"(\d+) requests in", said)
        if not rate or not total or not int(total[1]):
            raise Failed(f"wrk: {said.strip()[-200:]}")
        self.p50.append(latency(said, "50"))
        self.p99.append(latency(said, "99"))
        self.cost.append(spent / int(total[1]))
        wrong = re.findall(r"(?:connect|read|write|timeout) (\d+)|Non-2xx or 3xx responses: (\d+)", said)
        self.errors += sum(int(part) for found in wrong for part in found if part)
        return float(rate[1])


def latency(said: str, percent: str) -> float:
    """Milliseconds."""
    match = re.search(rf"^\s*{percent}%\s+([\d.]+)(us|ms|s)\s*$", said, re.MULTILINE)
    if not match:
        raise Failed(f"wrk does not tell of {percent}%")
    return float(match[1]) * UNITS[match[2]]


def one_kind(
    race: Race, running: Sequence[Running], close: bool, reference: str
) -> tuple[Table, dict[str, Spread]]:
    kind = "a connection a request" if close else "keep-alive"
    loads = {one.manager.name: Load(one, race.effort.load, close) for one in running}
    taken = in_turn({name: load.measure for name, load in loads.items()}, race.effort.loads, 150)
    head = [
        kind,
        "requests/s",
        f"ratio to {reference}",
        "p50, ms",
        "p99, ms",
        "processor time a request, µs",
        "errors",
    ]
    table = Table(head)
    for name in taken.values:
        load = loads[name]
        cells = [number(Spread.of(values).median) for values in (load.p50, load.p99)]
        cost = number(Spread.of(load.cost).median * 1e6)
        table.add(name, taken.cell(name), taken.ratio(name, reference), *cells, cost, str(load.errors))
    table.not_run(taken.failed)
    return table, taken.bars()


def together(
    race: Race, managers: Sequence[Manager], reference: str, tables: list[Table]
) -> dict[bool, dict[str, Spread]]:
    """All of them stand at the same time, and are loaded in turn."""
    running: list[Running] = []
    failed: dict[str, str] = {}
    bars = {}
    try:
        for manager in managers:
            with noted(failed, manager.name):
                running.append(manager.start(race, WORKERS))
        for close in (False, True):
            table, bars[close] = one_kind(race, running, close, reference)
            table.not_run(failed)
            tables.append(table)
    finally:
        for one in running:
            one.stop()
    return bars


def run(race: Race) -> Section:
    if "wrk" in race.missing:
        raise Failed(race.missing["wrk"])
    tables: list[Table] = []
    of_uvicorn = (PREFORK, PREFORK_SHARED, UVICORNS, GUNICORN, CIRCUSD, SUPERVISOR)
    bars = together(race, of_uvicorn, UVICORNS.name, tables)
    together(race, (PREFORK_NODE, PM2), PM2.name, tables)
    text = [
        f"`wrk -t1 -c{CONNECTIONS} -d{race.effort.load:.0f}s --latency` at {WORKERS} workers, {race.effort.loads} times in turn, "
        "on the same cores as the workers; all managers stand at the same time. The same uvicorn with uvloop and httptools "
        "under the first six, the same node under the last two. circus and supervisord leave TCP_NODELAY unset on the socket that they "
        "hand over, which uvicorn does not set itself on a `--fd`. Processor time: of the manager and its workers.",
    ]
    charts = [
        Chart("pool-keep-alive", "Keep-alive, uvicorn", "requests/s", bars[False]),
        Chart("pool-close", "A connection a request, uvicorn", "requests/s", bars[True]),
    ]
    return Section("Pool: throughput", text, tables, charts)
