"""What clients lose while workers are replaced, die, or are stopped: counted by the loss test's clients."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from subprocess import PIPE

from .managers import LIMIT, POOLS, PREFORK, PREFORK_HINT, PREFORK_NODE, Manager, Running
from .place import BUILT, Race
from .processes import Failed, end, kill_all, start
from .report import Section, Table

WORKERS = 2
CLIENTS = 2
MODELS = {"close": "a connection a request", "keep": "keep-alive", "again": "keep-alive, asks again"}
Counts = dict[str, dict[str, int]]
PHASES = ("recycle", "reload", "crash", "stop")


class Load:
    """The clients: benches/race/load.rs."""

    def __init__(self, race: Race, port: int) -> None:
        words = [str(BUILT / "load"), f"127.0.0.1:{port}", str(CLIENTS)]
        self.process = start(words, stdin=PIPE, stdout=PIPE, log=race.scratch / "load.log")

    def say(self, order: str) -> Counts:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{order}\n".encode())
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Failed("no answers to every kind of client")
        counts: Counts = json.loads(line)
        return counts

    def close(self) -> None:
        end(self.process)


@dataclass
class Lost:
    """The sums of some lives."""

    ok: int = 0
    lost: int = 0
    refused: int = 0
    other: int = 0
    gaps: list[int] = field(default_factory=list)

    def add(self, counts: dict[str, int]) -> None:
        self.ok += counts["ok"]
        self.lost += counts["lost"]
        self.refused += counts["refused"]
        self.other += counts["other"]
        self.gaps.append(counts["gap"])

    def cell(self) -> str:
        wrong = f", {self.other} wrong" if self.other else ""
        gap = max(self.gaps) / 1000
        lost = f"**{self.lost}**" if self.lost else "0"
        return f"{lost} lost, {self.refused} refused{wrong} of {self.ok + self.lost:,}; gap {gap:,.0f} ms"


def crash(running: Running) -> None:
    old = running.workers()
    victim = min(old)
    kill_all([victim])
    running.replaced({victim} | old, 1)


def life(
    race: Race, manager: Manager, limited: bool, acts: dict[str, Callable[[Running], None]]
) -> dict[str, Counts]:
    """One pool under load, and what each act cost. After `stop` no client asks again."""
    running = manager.start(race, WORKERS, limited)
    load = Load(race, running.site.port)
    costs = {}
    try:
        load.say("ok 20")
        load.say("take")
        for phase, act in acts.items():
            act(running)
            costs[phase] = load.say("stop" if phase == "stop" else "take")
    finally:
        load.close()
        running.stop()
    return costs


Life = tuple[bool, dict[str, Callable[[Running], None]]]


def lives(manager: Manager) -> list[Life]:
    """Apart, so that what a manager cannot do keeps no other phase from being run."""
    all_of_them: list[Life] = [
        (False, {"reload": Running.reload, "stop": Running.stop}),
        (False, {"crash": crash}),
    ]
    return [(True, {"recycle": manager.recycle}), *all_of_them] if manager.recycle else all_of_them


def note(results: dict[str, Lost], counts: Counts) -> None:
    for model, lost in counts.items():
        results.setdefault(model, Lost()).add(lost)


def run(race: Race) -> Section:
    managers = (PREFORK_HINT, PREFORK, *(it for it in POOLS if it is not PREFORK), PREFORK_NODE)
    # By phase and manager.
    results = {phase: {manager.name: dict[str, Lost]() for manager in managers} for phase in PHASES}
    failed = {phase: dict[str, str]() for phase in PHASES}
    failed["recycle"] |= {manager.name: manager.no_recycle for manager in managers if manager.recycle is None}
    for _ in range(race.effort.lives):
        for manager in managers:
            for limited, acts in lives(manager):
                if any(manager.name in failed[phase] for phase in acts):
                    continue
                try:
                    for phase, counts in life(race, manager, limited, acts).items():
                        note(results[phase][manager.name], counts)
                except Exception as error:
                    for phase in acts:
                        failed[phase][manager.name] = str(error) or type(error).__name__
    tables = []
    for phase in PHASES:
        table = Table([phase, *MODELS.values()])
        for name, lost in results[phase].items():
            if lost:
                table.add(name, *(lost[model].cell() for model in MODELS))
        table.not_run(failed[phase])
        tables.append(table)
    text = [
        f"{WORKERS} workers under {CLIENTS} clients of each kind, each a closed loop, {race.effort.lives} lives in turn "
        "(benches/race/load.rs, which has the clients of `cargo test loss::`). `Lost` is a request that was taken and not "
        "answered; one that was refused can be tried again. `Gap` is the longest time without an answer to any client of "
        "that kind. One that asks again does so once, over a new connection, when the server has closed the one it kept.",
        f"Recycle: ours `ctl recycle` of each slot, the others a limit of {LIMIT:,} requests, until two workers are replaced. "
        "Reload: HUP; circus `circusctl reload`, pm2 `pm2 reload all`, supervisord, which has no other, `restart`. Crash: KILL "
        "to one worker. Stop: TERM to the manager; nothing can be gained but that what was taken is answered. With "
        "`--drain-signal USR2 --drain-time 1s` the application says `Connection: close` before its worker is stopped "
        "(docs/promises.md).",
    ]
    return Section("Pool: requests lost, longest gap", text, tables)
