"""Measured in turn, A B A B ...: machines drift, and what slows one subject down then slows the others too."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .arithmetic import Spread, ratio_cell, with_quartiles


@dataclass
class Taken:
    """The values of each subject, and why there are none."""

    values: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def spread(self, subject: str) -> Spread:
        return Spread.of(self.values[subject])

    def cell(self, subject: str, factor: float = 1) -> str:
        return with_quartiles(self.spread(subject).scaled(factor))

    def ratio(self, subject: str, reference: str) -> str:
        if reference not in self.values:
            return f"({reference} was not run)"
        return ratio_cell(self.values[subject], self.values[reference])

    def bars(self, factor: float = 1) -> dict[str, Spread]:
        return {subject: self.spread(subject).scaled(factor) for subject in self.values}


def in_turn(subjects: Mapping[str, Callable[[], float]], rounds: int, seconds: float) -> Taken:
    """So many rounds, or as many as fit into the time. What fails once is out, and said to be."""
    taken = Taken({subject: [] for subject in subjects})
    deadline = time.monotonic() + seconds
    for turn in range(rounds):
        for subject, measure in subjects.items():
            if subject in taken.failed:
                continue
            try:
                taken.values[subject].append(measure())
            except Exception as error:
                taken.failed[subject] = f"in round {turn + 1}: {error or type(error).__name__}"
                del taken.values[subject]
        if time.monotonic() > deadline:
            break
    return taken
