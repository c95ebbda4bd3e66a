"""From a crash to the next answer, and to the successor's first instruction."""

from __future__ import annotations

import time
from collections.abc import Callable

from .arithmetic import with_quartiles
from .ask import free_port, get
from .arithmetic import Spread
from .managers import OURS, POOLS, SINGLE, UVICORN, Manager, program, sleepers
from .place import APPS, BUILT, Race
from .pool_idle import sleeping
from .processes import Failed, descendants, end, kill_all, name, start, wait_for
from .report import Chart, Section, Table, noted
from .turns import in_turn

WORKERS = 2
VICTIMS = 3


def accepting(race: Race, manager: Manager) -> Callable[[], float]:
    """All workers die at once: until somebody answers again."""

    def once() -> float:
        running = manager.start(race, 1 if manager in SINGLE else WORKERS)
        try:
            old = running.workers()
            # A manager may take a death right after the start for a failed one.
            time.sleep(1.2)
            begin = time.perf_counter()
            kill_all(old)

            def look() -> set[int]:
                running.must_live()
                return running.see(set()) - old

            wait_for("an answer", look, 30, 0.001)
            return time.perf_counter() - begin
        finally:
            running.stop()

    return once


def boot(race: Race) -> float:
    """What no manager can be quicker than: one uvicorn, from its start to its first answer."""
    port = free_port()
    words = [program("uvicorn"), "--port", str(port), *UVICORN]
    begin = time.perf_counter()
    process = start(words, env={"PYTHONPATH": str(APPS)}, cwd=race.directory("boot"))

    def look() -> bool:
        try:
            return get(port, "/pid")[0] == 200
        except OSError:
            return False

    try:
        wait_for("an answer", look, 30, 0.001)
        return time.perf_counter() - begin
    finally:
        end(process)


def answers(race: Race) -> Section:
    subjects: dict[str, Callable[[], float]] = {"the boot of one uvicorn alone": lambda: boot(race)}
    subjects |= {manager.name: accepting(race, manager) for manager in (*POOLS, *SINGLE)}
    taken = in_turn(subjects, race.effort.lives, 300)
    table = Table(["manager", "seconds", f"ratio to {OURS}"])
    for subject in taken.values:
        table.add(subject, taken.cell(subject), taken.ratio(subject, OURS))
    table.not_run(taken.failed)
    text = [
        f"Both workers (of runit and s6 the one) get KILL at once; until a new one has answered, {race.effort.lives} times in "
        "turn, each a life of its own. It has the application's boot in it.",
    ]
    chart = Chart("pool-crash", "Crash to the next answer", "s", taken.bars())
    return Section("Pool: crash to accepting", text, [table], [chart])


def stamps(race: Race, manager: Manager, workers: int) -> list[float]:
    """Kills some workers, one after the other, and reads when their successors began to run."""
    running, _ = sleeping(manager, race, workers)
    file = race.scratch / "stamps"
    try:
        time.sleep(1.2)
        took = []
        victims = [pid for pid in descendants(running.pid) if name(pid) == "helper"][:VICTIMS]
        for victim in victims:
            before = len(file.read_text().splitlines())
            begin = time.monotonic_ns()
            kill_all([victim])
            wait_for("a successor", lambda: len(file.read_text().splitlines()) > before, 10, 0.01)
            took.append((int(file.read_text().splitlines()[before].split()[0]) - begin) / 1e9)
            time.sleep(0.2)
        return took
    finally:
        running.stop()
        file.unlink(missing_ok=True)


def successors(race: Race) -> Section:
    table = Table(["manager", "workers", "median, ms"])
    failed: dict[str, str] = {}
    bars: dict[str, Spread] = {}
    managers = sleepers(f"{BUILT / 'helper'} stamp {race.scratch / 'stamps'}")
    most = max(race.effort.sizes)
    for subject, manager in managers.items():
        for workers in (VICTIMS, most) if subject == OURS else (VICTIMS,):
            shown = subject if workers == VICTIMS else f"{subject}, {workers:,} workers"
            with noted(failed, shown):
                values = [value for _ in range(race.effort.lives) for value in stamps(race, manager, workers)]
                spread = Spread.of(values).scaled(1e3)
                table.add(shown, f"{workers:,}", with_quartiles(spread))
                bars[shown] = spread
    table.not_run(failed)
    text = [
        f"KILL to {VICTIMS} workers, one after the other, each until its successor's first instruction "
        "(benches/race/helper.c, `stamp`). s6 waits a second by design, circus looks every 5 s.",
    ]
    chart = Chart("pool-successor", "Crash to the successor", "ms", bars)
    return Section("Pool: crash to the successor's exec", text, [table], [chart])
