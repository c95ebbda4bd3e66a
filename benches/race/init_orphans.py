"""Fifty thousand orphans; and what becomes of processes that outlive the command."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from subprocess import PIPE, TimeoutExpired

from .arithmetic import number
from .counting import calls_while
from .inits import REFERENCE, Init, as_pid1, inits, missing
from .place import BUILT, OWN_APPS, Race
from .processes import Failed, children, kill, processor_time, send, wait_for
from .report import Chart, Section, Table, noted
from .turns import in_turn

FEW = 500
LIMIT = 60.0


class Storm:
    """One storm; the figures are of the last."""

    def __init__(self, init: Init, count: int) -> None:
        self.init, self.count = init, count
        self.left = 0
        self.own: list[float] = []

    def live(self, count: int) -> float:
        process, pid = as_pid1(
            self.init.command(str(BUILT / "helper"), "orphans", str(count)), "helper", stdout=PIPE
        )
        try:
            assert process.stdout
            process.stdout.read(1)
            begin = time.perf_counter()
            if process.stdout.read(1) != b"d":
                raise Failed("the command has ended")
            self.left = len(children(pid)) - 1
            wait_for("the last to be reaped", lambda: len(children(pid)) == 1, LIMIT, 0.001)
            took = time.perf_counter() - begin
            self.own.append(processor_time([pid]) / count)
            return took
        finally:
            kill(process)

    def measure(self) -> float:
        return self.live(self.count)

    def calls(self) -> float:
        """A storm that begins when the tracer is there: at CONT."""
        helper = str(BUILT / "helper")
        shell = f'kill -STOP $$; exec "{helper}" orphans {FEW}'
        process, pid = as_pid1(self.init.command("sh", "-c", shell), "sh", stdout=PIPE)
        try:
            (command,) = children(pid)

            def act() -> None:
                send(command, signal.SIGCONT)
                assert process.stdout
                process.stdout.read(2)
                wait_for("the last to be reaped", lambda: len(children(pid)) == 1)

            # It is stopped, and the init has dealt with that.
            time.sleep(0.2)
            return calls_while(pid, act) / FEW
        finally:
            kill(process)


def orphans(race: Race) -> Section:
    count = race.effort.orphans
    storms = {name: Storm(init, count) for name, init in inits(race).items()}
    taken = in_turn({name: storm.measure for name, storm in storms.items()}, race.effort.storms, 240)
    head = [
        "subject",
        "seconds",
        f"ratio to {REFERENCE}",
        "own processor time each, µs",
        "unreaped at the last fork",
    ]
    table = Table([*head, "system calls each"])
    for subject in taken.values:
        storm = storms[subject]
        own = number(sum(storm.own) / len(storm.own) * 1e6)
        try:
            calls = number(storm.calls())
        except Exception as error:
            calls = str(error) or type(error).__name__
        table.add(
            subject, taken.cell(subject), taken.ratio(subject, REFERENCE), own, f"{storm.left:,}", calls
        )
    table.not_run({**missing(race), **taken.failed})
    text = [
        f"As PID 1, `X -- helper orphans {count}`: {count:,} processes that end at once, a hundred of each parent, which ends "
        f"before them; from the first until the last is reaped, {race.effort.storms} times in turn. System calls of "
        f"{FEW} of them, by `strace -p`.",
    ]
    chart = Chart("init-orphans", f"{count:,} orphans", "s", taken.bars())
    return Section(f"Init: {count:,} orphans", text, [table], [chart])


def left_over(race: Race, init: Init, how: str) -> tuple[int, float]:
    """How many of ten have finished their work, and when all was over."""
    directory = race.directory("leaves")
    script = str(OWN_APPS / "leaves.sh")
    process, pid = as_pid1(init.command("sh", script, str(directory), how), "sh")
    try:
        if how == "waits":
            wait_for("ten processes", lambda: (directory / "waits").exists())
            begin = time.perf_counter()
            send(pid, signal.SIGTERM)
        else:
            wait_for("ten processes", lambda: len(list(directory.glob("*.up"))) == 10)
            begin = time.perf_counter()
        process.wait(20)
        took = time.perf_counter() - begin
    except TimeoutExpired as error:
        raise Failed("it has not ended within 20 s") from error
    finally:
        kill(process)
    return len(list(directory.glob("*.done"))), took


def leftovers(race: Race) -> Section:
    cases = {"ends": "the command ends by itself", "waits": "TERM, at which the command ends at once"}
    table = Table(
        ["subject", *(f"{case}: {what}" for case in cases.values() for what in ("lost", "over after, s"))]
    )
    failed = missing(race)
    for init in inits(race).values():
        cells: list[str] = []
        with noted(failed, init.name):
            for how in cases:
                done, took = left_over(race, init, how)
                cells += [f"{10 - done} of 10", number(took)]
            table.add(init.name, *cells)
    table.not_run(failed)
    text = [
        "As PID 1, a command with ten descendants, five in its process group and five daemons in sessions of their own, each of "
        "which needs 0.3 s to finish its work when it gets TERM (benches/race/apps/leaves.sh). Lost is what was killed before.",
    ]
    return Section("Init: what outlives the command", text, [table])
