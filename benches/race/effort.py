"""How much is measured: all of it, or as much as fits into some minutes."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Effort:
    # Interleaved pairs of `X -- true`, of forwarded signals, of TERM to exit.
    starts: int
    signals: int
    terms: int
    # Repetitions of whole storms, lives and loads.
    storms: int
    lives: int
    loads: int
    queued: int
    orphans: int
    # Seconds of an idle look, and of one load.
    idle: float
    load: float
    connections: int
    # Sizes of a pool.
    sizes: tuple[int, ...]
    # After how many minutes no other comparison is begun.
    minutes: int


FULL = Effort(
    starts=600,
    signals=3000,
    terms=200,
    storms=3,
    lives=3,
    loads=6,
    queued=10_000,
    orphans=50_000,
    idle=10,
    load=4,
    connections=400,
    sizes=(1, 10, 100, 1000),
    minutes=40,
)
QUICK = replace(
    FULL, signals=500, terms=60, storms=1, lives=1, loads=2, idle=3, load=2, connections=200, minutes=15
)
# To see that everything runs.
TRIAL = Effort(
    starts=10,
    signals=20,
    terms=3,
    storms=1,
    lives=1,
    loads=1,
    queued=500,
    orphans=2000,
    idle=1,
    load=1,
    connections=20,
    sizes=(1, 10),
    minutes=30,
)
