"""What a comparison has to say, and how that is written: Markdown tables, and the names of the plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from .arithmetic import Spread


@dataclass
class Table:
    """Cells as text; the first of each line is the subject."""

    head: Sequence[str]
    lines: list[list[str]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        if len(cells) != len(self.head):
            raise ValueError(f"{len(cells)} cells below {len(self.head)} heads: {cells}")
        self.lines.append(list(cells))

    def not_run(self, reasons: Mapping[str, str]) -> None:
        """A line for each subject that has no figures, and why."""
        for subject, why in reasons.items():
            self.add(subject, f"**NOT RUN**: {why}", *[""] * (len(self.head) - 2))

    def markdown(self) -> str:
        def line(cells: Sequence[str]) -> str:
            return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

        rule = "|" + "|".join([" --- "] + [" ---: "] * (len(self.head) - 1)) + "|"
        return "\n".join([line(self.head), rule, *map(line, self.lines)])


@dataclass(frozen=True)
class Chart:
    """Bars with whiskers: a median and its quartiles for each subject."""

    name: str
    title: str
    unit: str
    bars: Mapping[str, Spread]


@dataclass
class Section:
    """One comparison."""

    title: str
    # What was done, with which commands; paragraphs.
    text: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)

    def markdown(self, took: float) -> str:
        parts = [f"## {self.title}", *self.text, *(table.markdown() for table in self.tables)]
        parts += [f"![{chart.title}](plots/{chart.name}.svg)" for chart in self.charts if chart.bars]
        return "\n\n".join([*parts, f"Took {took:.0f} s."])


def failed(title: str, why: str) -> Section:
    """Of a comparison that gave no figures at all."""
    return Section(title, [f"**NOT RUN**: {why}"])


@contextmanager
def noted(failed: dict[str, str], subject: str) -> Iterator[None]:
    """What fails in it is why a subject has no figures; the others go on."""
    try:
        yield
    except Exception as error:
        failed[subject] = str(error) or type(error).__name__
