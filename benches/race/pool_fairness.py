"""How evenly connections that stay are shared out."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable

from .arithmetic import Spread
from .ask import ask, connect
from .managers import POOLS, PREFORK_SHARED, Manager, Running
from .place import Race
from .processes import Failed
from .report import Chart, Section, Table, noted

WORKERS = 4


def one_by_one(port: int, count: int, kept: list[socket.socket]) -> Counter[int]:
    shares: Counter[int] = Counter()
    for _ in range(count):
        kept.append(connect(port))
        shares[int(ask(kept[-1], "/pid")[1])] += 1
    return shares


def at_once(port: int, count: int, kept: list[socket.socket]) -> Counter[int]:
    """All are connected before the first asks."""
    kept += [connect(port) for _ in range(count)]
    return Counter(int(ask(client, "/pid")[1]) for client in kept)


Way = Callable[[int, int, list[socket.socket]], Counter[int]]
WAYS: dict[str, Way] = {"one after the other": one_by_one, "all at once": at_once}


def shares(running: Running, way: Way, count: int) -> list[int]:
    """From the most to the fewest; a worker without any is one of them."""
    kept: list[socket.socket] = []
    try:
        found = sorted(way(running.site.port, count, kept).values(), reverse=True)
    finally:
        for client in kept:
            client.close()
    return found + [0] * (running.site.workers - len(found))


def run(race: Race) -> Section:
    count = race.effort.connections
    lives = max(race.effort.lives, 2)
    head = ["manager", *(f"{way}: {what}" for way in WAYS for what in ("shares", "most / mean"))]
    table = Table(head)
    failed: dict[str, str] = {}
    bars: dict[str, Spread] = {}
    managers: tuple[Manager, ...] = (POOLS[0], PREFORK_SHARED, *POOLS[1:])
    for manager in managers:
        with noted(failed, manager.name):
            running = manager.start(race, WORKERS)
            try:
                cells = []
                for name, way in WAYS.items():
                    found = [shares(running, way, count) for _ in range(lives)]
                    worst = Spread.of([most[0] * WORKERS / count for most in found])
                    cells += [" ".join(map(str, found[-1])), f"{worst.median:.2f}"]
                    if way is at_once:
                        bars[manager.name] = worst
                table.add(manager.name, *cells)
            finally:
                running.stop()
    table.not_run(failed)
    text = [
        f"{count} connections that stay open, each with one answer, on {WORKERS} workers: how many each worker has (the last of "
        f"{lives} times), and the median of the largest share beside the mean. 1.00 is even, {WORKERS}.00 is all on one.",
    ]
    chart = Chart("pool-fairness", "Largest share of long connections, all at once", "of the mean", bars)
    return Section("Pool: fairness of long connections", text, [table], [chart])
