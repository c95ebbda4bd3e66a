"""What clients lose while workers are replaced, die, or are stopped: counted by the loss test's clients."""

from __future__ import annotations

import json
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


class Load:
    """The clients: benches/race/load.rs."""

    def __init__(self, race: Race, port: int) -> None:
        words = [BUILT / "load", f"127.0.0.1:{port}", str(CLIENTS)]
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


Results = dict[str, dict[str, Lost]]


def crash(running: Running) -> None:
    old = running.workers()
    victim = min(old)
    kill_all([victim])
    running.replaced({victim} | old, 1)


def under_load(race: Race, manager: Manager, limited: bool) -> tuple[Running, Load]:
    running = manager.start(race, WORKERS, limited)
    load = Load(race, running.site.port)
    try:
        load.say("ok 20")
        load.say("take")
    except BaseException:
        load.close()
        running.stop()
        raise
    return running, load


def note(results: Results, phase: str, counts: Counts) -> None:
    for model, lost in counts.items():
        results.setdefault(phase, {}).setdefault(model, Lost()).add(lost)


def live(race: Race, manager: Manager, results: Results) -> None:
    """A life with a reload, a crash and the end; and one with recycling."""
    running, load = under_load(race, manager, False)
    try:
        running.reload()
        note(results, "reload", load.say("take"))
        crash(running)
        load.say("ok 20")
        note(results, "crash", load.say("take"))
        running.stop()
        note(results, "stop", load.say("stop"))
    finally:
        load.close()
        running.stop()
    if manager.recycle is None:
        return
    running, load = under_load(race, manager, True)
    try:
        manager.recycle(running)
        note(results, "recycle", load.say("stop"))
    finally:
        load.close()
        running.stop()


def run(race: Race) -> Section:
    managers = (PREFORK_HINT, PREFORK, *(it for it in POOLS if it is not PREFORK), PREFORK_NODE)
    results: dict[str, Results] = {manager.name: {} for manager in managers}
    failed: dict[str, str] = {}
    for _ in range(race.effort.lives):
        for manager in managers:
            if manager.name in failed:
                continue
            try:
                live(race, manager, results[manager.name])
            except Exception as error:
                failed[manager.name] = str(error) or type(error).__name__
    tables = []
    for phase in ("recycle", "reload", "crash", "stop"):
        table = Table([phase, *MODELS.values()])
        reasons = {}
        for manager in managers:
            of_phase = results[manager.name].get(phase)
            if of_phase:
                table.add(manager.name, *(of_phase[model].cell() for model in MODELS))
            else:
                reasons[manager.name] = failed.get(manager.name) or manager.no_recycle
            if of_phase and manager.name in failed:
                reasons[f"{manager.name} (later)"] = failed[manager.name]
        table.not_run(reasons)
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
