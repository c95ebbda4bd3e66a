"""What an init takes while nothing happens: memory, wake-ups, and its size on disk."""

from __future__ import annotations

import os
import time

from .ask import free_port, get
from .inits import OURS, as_pid1, inits, missing
from .place import Race
from .processes import Failed, kill, memory, processor_time, wait_for, wake_ups
from .arithmetic import Spread
from .report import Chart, Section, Table, noted


def answers(port: int, path: str) -> bool | None:
    try:
        return get(port, path)[0] == 200 or None
    except OSError:
        return None


def run(race: Race) -> Section:
    commands = {init.name: init.command("sleep", "1000") for init in inits(race).values()}
    own, ports = inits(race)[OURS].program, {}
    for name, words in {
        f"{OURS}, endpoint, 5 requests": [],
        f"{OURS}, pool of 4, endpoint, control": [
            "-n",
            "4",
            "--ready",
            "delay:1ms",
            "--control",
            race.directory("c") / "c",
        ],
    }.items():
        ports[name] = free_port()
        health = f"--health=127.0.0.1:{ports[name]}"
        commands[name] = [str(own), health, *map(str, words), "--", "sleep", "1000"]
    table = Table(
        [
            "subject",
            "anonymous, kB",
            "private dirty, kB",
            "PSS, kB",
            "file, bytes",
            "wake-ups",
            "processor time, µs",
        ]
    )
    running, failed = {}, missing(race)
    try:
        for name, args in commands.items():
            with noted(failed, name):
                running[name] = as_pid1(args, "sleep")
                if port := ports.get(name):
                    wait_for("readiness", lambda: answers(port, "/readyz"))
                    for _ in range(5):
                        get(port, "/livez")
        # What ends with the start has ended.
        time.sleep(2)
        begun = {name: (wake_ups([pid]), processor_time([pid])) for name, (_, pid) in running.items()}
        time.sleep(race.effort.idle)
        bars = {}
        for name, (_, pid) in running.items():
            woken, spent = wake_ups([pid]) - begun[name][0], processor_time([pid]) - begun[name][1]
            sizes = memory([pid])
            figures = [sizes.get(key, 0) for key in ("Anonymous", "Private_Dirty", "Pss")]
            file = f"{os.path.getsize(commands[name][0]):,}"
            table.add(name, *map(str, figures), file, str(woken), f"{spent * 1e6:.0f}")
            bars[name] = Spread(*[float(figures[0])] * 3)
    finally:
        for process, _ in running.values():
            kill(process)
    table.not_run(failed)
    text = [
        f"`X -- sleep 1000` as PID 1 of a namespace. Memory is of the init alone (`/proc/PID/smaps_rollup`), after "
        f"{race.effort.idle:.0f} idle seconds, in which wake-ups (voluntary context switches) and processor time "
        "(`schedstat`) were counted. tini and dumb-init need the C library besides their file.",
    ]
    return Section(
        "Init: memory, size, idle", text, [table], [Chart("init-memory", "Anonymous memory", "kB", bars)]
    )
