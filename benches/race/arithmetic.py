"""Medians, quantiles, and ratios of what was measured in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


def quantile(values: Sequence[float], part: float) -> float:
    """The value below which this part of them lies, between two neighbours by their distance."""
    ordered = sorted(values)
    place = part * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


@dataclass(frozen=True)
class Spread:
    """A median and its quartiles."""

    low: float
    median: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        return Spread(quantile(values, 0.25), quantile(values, 0.5), quantile(values, 0.75))

    def scaled(self, factor: float) -> Spread:
        return Spread(self.low * factor, self.median * factor, self.high * factor)


def ratios(values: Sequence[float], reference: Sequence[float]) -> list[float]:
    """Of each to what was measured beside it: what slows both down for a while is no difference."""
    return [value / other for value, other in zip(values, reference) if other > 0]


def number(value: float) -> str:
    """For a table: three digits that count, thousands with commas."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def with_quartiles(spread: Spread) -> str:
    if spread.low == spread.high:
        return number(spread.median)
    return f"{number(spread.median)} [{number(spread.low)}–{number(spread.high)}]"


def ratio_cell(values: Sequence[float], reference: Sequence[float]) -> str:
    """The median of the paired ratios with their quartiles."""
    paired = ratios(values, reference)
    if not paired:
        return "–"
    spread = Spread.of(paired)
    if spread.low == spread.high:
        return f"{spread.median:.2f}"
    return f"{spread.median:.2f} [{spread.low:.2f}–{spread.high:.2f}]"
