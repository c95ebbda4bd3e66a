"""A signal that is passed on; ten thousand of them; and the one that ends."""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from subprocess import PIPE

from .arithmetic import Spread, number, quantile
from .counting import calls_while, spawn
from .inits import Init, as_pid1, inits, missing
from .place import OWN_APPS, Race
from .processes import Failed, Process, children, is_dead, kill, kill_all, name, send, wait_for, wake_ups
from .report import Chart, Section, Table, noted
from .turns import in_turn

RECEIVER = str(OWN_APPS / "receiver.py")
SAMPLE = 50
# Neither glibc nor any of the inits uses it.
REAL_TIME = 40


def line_of(process: object) -> bytes:
    stdout = getattr(process, "stdout")
    line: bytes = stdout.readline()
    if not line:
        raise Failed("the command has ended")
    return line


class Receiver:
    """An init as PID 1, with a command that tells what has reached it."""

    def __init__(self, init: Init, *words: str) -> None:
        # Not through the shims of version managers.
        python = os.path.realpath(sys.executable)
        args = init.command(python, "-IS", RECEIVER, *words)
        self.process, self.pid = as_pid1(args, os.path.basename(python)[:15], stdout=PIPE)
        if line_of(self.process) != b"ready\n":
            raise Failed("the command is not ready")

    def latency(self) -> float:
        time.sleep(0.002)
        begin = time.perf_counter_ns()
        send(self.pid, signal.SIGUSR1)
        return (int(line_of(self.process)) - begin) / 1e9


def forwarding(race: Race) -> Section:
    receivers: dict[str, Receiver] = {}
    failed = missing(race)
    table = Table(
        ["subject", "p50, µs", "p99, µs", "ratio to tini", "system calls a signal", "wake-ups a signal"]
    )
    try:
        for init in inits(race).values():
            with noted(failed, init.name):
                receivers[init.name] = Receiver(init, "one", str(int(signal.SIGUSR1)))
        taken = in_turn(
            {name: receiver.latency for name, receiver in receivers.items()}, race.effort.signals, 120
        )
        for subject in taken.values:
            receiver = receivers[subject]

            def some() -> None:
                for _ in range(SAMPLE):
                    receiver.latency()

            before = wake_ups([receiver.pid])
            some()
            woken = (wake_ups([receiver.pid]) - before) / SAMPLE
            calls = calls_while(receiver.pid, some) / SAMPLE
            p99 = number(quantile(taken.values[subject], 0.99) * 1e6)
            table.add(
                subject,
                taken.cell(subject, 1e6),
                p99,
                taken.ratio(subject, "tini"),
                number(calls),
                number(woken),
            )
    finally:
        for receiver in receivers.values():
            kill(receiver.process)
    table.not_run({**failed, **taken.failed})
    text = [
        f"USR1 to an init that is PID 1, until its command has it (sigwaitinfo(2)), {race.effort.signals} times in turn, "
        "2 ms apart. System calls by `strace -p`, wake-ups as voluntary context switches.",
    ]
    chart = Chart("init-forwarding", "A forwarded signal", "µs", taken.bars(1e6))
    return Section("Init: forwarding a signal", text, [table], [chart])


SLEEP = ("/bin/sleep", "1000")


def as_child(init: Init) -> tuple[Process | None, int]:
    pid = spawn(init.command(*SLEEP))
    wait_for("sleep", lambda: any(name(child) == "sleep" for child in children(pid)), pause=0.001)
    return None, pid


def first(init: Init) -> tuple[Process | None, int]:
    return as_pid1(init.command(*SLEEP), "sleep")


WAYS: dict[str, Callable[[Init], tuple[Process | None, int]]] = {"PID 1": first, "not PID 1": as_child}


def ended(process: Process | None, pid: int, act: Callable[[], float]) -> float:
    """What `act` gives, after which nothing is left of them."""
    try:
        return act()
    finally:
        if process:
            kill(process)
        else:
            kill_all([pid])
            os.waitpid(pid, 0)


def term_to_exit(init: Init, start: Callable[[Init], tuple[Process | None, int]]) -> float:
    process, pid = start(init)

    def act() -> float:
        handle = os.pidfd_open(pid)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        # Until it waits for what comes.
        time.sleep(0.005)
        begin = time.perf_counter()
        send(pid, signal.SIGTERM)
        over = poll.poll(10_000)
        took = time.perf_counter() - begin
        os.close(handle)
        if not over:
            raise Failed("it has not ended within 10 s")
        return took

    return ended(process, pid, act)


def calls_at_term(init: Init, start: Callable[[Init], tuple[Process | None, int]]) -> str:
    process, pid = start(init)
    time.sleep(0.1)

    def act() -> None:
        send(pid, signal.SIGTERM)
        wait_for("its end", lambda: is_dead(pid))

    try:
        return f"{ended(process, pid, lambda: calls_while(pid, act)):.0f}"
    except Failed as error:
        return str(error)


def term(race: Race) -> Section:
    tables, charts = [], []
    for way, start in WAYS.items():
        there = inits(race)
        measures = {subject: partial(term_to_exit, init, start) for subject, init in there.items()}
        taken = in_turn(measures, race.effort.terms, 90)
        table = Table([way, "median, µs", "p99, µs", "ratio to dumb-init", "system calls"])
        for subject, values in taken.values.items():
            p99 = number(quantile(values, 0.99) * 1e6)
            calls = calls_at_term(there[subject], start)
            table.add(subject, taken.cell(subject, 1e6), p99, taken.ratio(subject, "dumb-init"), calls)
        table.not_run({**missing(race), **taken.failed})
        tables.append(table)
        charts.append(
            Chart(f"init-term-{way.replace(' ', '-').lower()}", f"TERM to exit, {way}", "µs", taken.bars(1e6))
        )
    text = [
        f"TERM to `X -- sleep 1000` until it has ended (a pidfd tells), {race.effort.terms} rounds in turn: as PID 1 of a "
        "namespace, and as a child of another process. System calls from TERM on, by `strace -p`.",
    ]
    return Section("Init: TERM to exit", text, tables, charts)


def queue(pid: int, count: int) -> int:
    """Queues real-time signals with values from 1 on; gives how many the kernel took."""
    libc = ctypes.CDLL(None, use_errno=True)
    for value in range(1, count + 1):
        if libc.sigqueue(pid, REAL_TIME, ctypes.c_void_p(value)) != 0:
            return value - 1
    return count


def queued(race: Race) -> Section:
    limit = resource.getrlimit(resource.RLIMIT_SIGPENDING)[0]
    count = race.effort.queued if limit < 0 else min(race.effort.queued, limit // 3)
    table = Table(["subject", "arrived", "in order", "with their value", "all within, ms", "each, µs"])
    failed, bars = missing(race), {}
    for init in inits(race).values():
        receiver = None
        try:
            receiver = Receiver(init, "queue", str(REAL_TIME), str(count))
            send(receiver.pid, signal.SIGSTOP)
            sent = queue(receiver.pid, count)
            begin = time.perf_counter_ns()
            send(receiver.pid, signal.SIGCONT)
            arrived, ordered, valued, last = map(int, line_of(receiver.process).split())
            took = (last - begin) / 1e6 if arrived else 0.0
            each = number(took / arrived * 1e3) if arrived else "–"
            # Without values nothing tells the order.
            order = f"{ordered:,}" if valued else "–"
            table.add(init.name, f"{arrived:,} of {sent:,}", order, f"{valued:,}", number(took), each)
            if arrived:
                bars[init.name] = Spread(*[took] * 3)
        except Exception as error:
            failed[init.name] = str(error) or type(error).__name__
        finally:
            if receiver:
                kill(receiver.process)
    table.not_run(failed)
    text = [
        f"{count:,} real-time signals (number {REAL_TIME}, sigqueue(3) with a value each) are queued while the init, PID 1, is "
        "stopped; then it goes on, and its command counts. A PID 1 does not get what it has no handler for.",
    ]
    title = f"{count:,} queued signals"
    return Section(
        f"Init: {count:,} queued real-time signals", text, [table], [Chart("init-queued", title, "ms", bars)]
    )
