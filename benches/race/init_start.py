"""How long `X -- true` takes, with nothing asked for and with ten options."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from .counting import calls_of_a_run, instructions, page_faults, spawn
from .inits import OURS, REFERENCE, inits, missing
from .place import Race
from .processes import Failed
from .report import Chart, Section, Table
from .turns import in_turn

COMMAND = "/bin/true"


def start_up(args: Sequence[str]) -> Callable[[], float]:
    def once() -> float:
        begin = time.perf_counter()
        _, status = os.waitpid(spawn(args), 0)
        if status:
            raise Failed(f"ended with {os.waitstatus_to_exitcode(status)}")
        return time.perf_counter() - begin

    return once


def counted(count: Callable[[], object]) -> str:
    try:
        return str(count())
    except Exception as error:
        return f"failed: {error}"


def run(race: Race) -> Section:
    commands = {init.name: init.command(COMMAND) for init in inits(race).values()}
    commands |= {
        f"{init.name}, ten options": init.command(COMMAND, ten=True)
        for init in inits(race).values()
        if init.ten
    }
    commands["the command alone"] = [COMMAND]
    taken = in_turn({name: start_up(args) for name, args in commands.items()}, race.effort.starts, 120)
    table = Table(
        ["subject", "median, µs", f"ratio to {REFERENCE}", "instructions", "system calls", "page faults"]
    )
    # Theirs with ten options are nearly those without, and each takes its time.
    counted_ones = {
        name: args for name, args in commands.items() if name.startswith(OURS) or "ten" not in name
    }
    counts = instructions(counted_ones)
    for name in taken.values:
        args = commands[name]
        table.add(
            name,
            taken.cell(name, 1e6),
            taken.ratio(name, REFERENCE),
            counts.get(name, "not counted"),
            counted(lambda: calls_of_a_run(args)),
            counted(lambda: page_faults(args)),
        )
    table.not_run({**missing(race), **taken.failed})
    ours = " ".join(["prefork-init", *commands[f"{OURS}, ten options"][1:]])
    text = [
        f"`X -- true` from posix_spawn(3) to its end, not as PID 1, {race.effort.starts} rounds in turn. tini has `-s`. Ten "
        f"options of ours: `{ours}`; of tini `-s -g -w` and seven `-e N`; of dumb-init ten `--rewrite N:N`. The median "
        "with its quartiles, and the median of the paired ratios with theirs.",
        "Instructions: of the init alone, in steps of ptrace(2) (benches/race/helper.c). System calls: of the init, and of its child until "
        "that has become the command (`strace -f`). Page faults: with those of the command (`ru_minflt`).",
    ]
    return Section("Init: start", text, [table], [Chart("init-start", "X -- true", "µs", taken.bars(1e6))])
