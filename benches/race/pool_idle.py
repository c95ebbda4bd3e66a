"""What a manager itself takes while its workers have nothing to do: of four servers, and of a thousand sleepers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from .arithmetic import Spread, number
from .managers import PHP_FPM, POOLS, SINGLE, Manager, Running, sleepers
from .place import BUILT, Race
from .processes import children, descendants, memory, name, processor_time, wait_for, wake_ups
from .report import Chart, Section, Table, noted

HEAD = ["manager", "PSS, kB", "private dirty, kB", "processes", "processor time, ms/s", "wake-ups/s"]
WORKERS = 4
THOUSAND = 1000


def figures(
    race: Race, table: Table, managers: Mapping[str, list[int]], more: Mapping[str, list[str]]
) -> dict[str, Spread]:
    """Looks at all of them over the same seconds."""
    begun = {name: (processor_time(pids), wake_ups(pids)) for name, pids in managers.items()}
    time.sleep(race.effort.idle)
    bars = {}
    for name, pids in managers.items():
        spent, woken = processor_time(pids) - begun[name][0], wake_ups(pids) - begun[name][1]
        rates = [number(spent * 1e3 / race.effort.idle), number(woken / race.effort.idle)]
        sizes = memory(pids)
        pss = sizes.get("Pss", 0)
        table.add(
            name,
            f"{pss:,}",
            f"{sizes.get('Private_Dirty', 0):,}",
            str(len(pids)),
            *rates,
            *more.get(name, []),
        )
        bars[name] = Spread(*[float(pss)] * 3)
    return bars


def stop(running: Iterable[Running]) -> None:
    for one in running:
        one.stop()


def settled(running: Running) -> list[int]:
    """The processes of php-fpm, of which the workers are the master's children."""

    def look() -> bool:
        return len(children(running.pid)) >= running.site.workers

    wait_for("workers", look)
    return [running.pid]


def servers(race: Race) -> Section:
    table = Table(HEAD)
    running: list[Running] = []
    managers: dict[str, list[int]] = {}
    failed: dict[str, str] = {}
    try:
        for manager in (*POOLS, *SINGLE, PHP_FPM):
            workers = 1 if manager in SINGLE else WORKERS
            with noted(failed, manager.name):
                one = manager.start(race, workers, ready=manager is not PHP_FPM)
                running.append(one)
                managers[manager.name] = settled(one) if manager is PHP_FPM else one.managers(one.workers())
        # What is still done after a start has been done.
        time.sleep(3)
        bars = figures(race, table, managers, {})
    finally:
        stop(running)
    table.not_run(failed)
    text = [
        f"{WORKERS} workers that serve, with nothing to do (runit and s6: one, they have no sockets to share). All processes but "
        f"the workers and what is below those; {race.effort.idle:.0f} s. nginx, pm2, php-fpm: of other servers.",
    ]
    chart = Chart("pool-memory", "Memory of the manager (PSS)", "kB", bars)
    return Section("Pool: memory and idle", text, [table], [chart])


def sleeping(manager: Manager, race: Race, workers: int) -> tuple[Running, float]:
    """So many sleepers, and how long it took until all ran."""
    begin = time.perf_counter()
    running = manager.start(race, workers, ready=False)

    def look() -> bool:
        running.must_live()
        return sum(name(pid) == "helper" for pid in descendants(running.pid)) >= workers

    try:
        wait_for(f"{workers} workers", look, 60, 0.02)
    except BaseException:
        running.stop()
        raise
    return running, time.perf_counter() - begin


def thousand(race: Race) -> Section:
    """One after the other: what they do at the start would be seen by the others."""
    count = THOUSAND if THOUSAND in race.effort.sizes else max(race.effort.sizes)
    table = Table([*HEAD, "until all run, s"])
    failed: dict[str, str] = {}
    bars: dict[str, Spread] = {}
    worker = f"{BUILT / 'helper'} stamp /dev/null"
    for subject, manager in sleepers(worker).items():
        with noted(failed, subject):
            running, took = sleeping(manager, race, count)
            try:
                time.sleep(3)
                below = [running.pid, *descendants(running.pid)]
                pids = [pid for pid in below if name(pid) != "helper"]
                bars |= figures(race, table, {subject: pids}, {subject: [number(took)]})
            finally:
                running.stop()
    table.not_run(failed)
    text = [
        f"{count:,} workers that sleep, one manager after the other. gunicorn, uvicorn, hypercorn and granian have no workers "
        "but their own servers, pm2 none but node's.",
    ]
    chart = Chart("pool-thousand", f"Memory of the manager of {count:,}", "kB", bars)
    return Section(f"Pool: idle with {count:,} workers", text, [table], [chart])
