"""The race: prefork-init beside its peers, in one run.

    benches/race/run                 everything, in up to 40 minutes
    benches/race/run --quick         everything with fewer rounds, in 8 minutes
    benches/race/run --only NAME     one comparison, printed and not written; repeat it for more
    benches/race/run --list          their names

Builds the binary that is shipped (`cargo static`) and installs the peers: by apt-get (as root), pip (target/race-venv)
and npm (target/race-node). Writes benches/RESULTS.md and benches/plots/, unless --only is given; with --only, --write
writes both with these comparisons alone. Everything is on this machine, over loopback, and all processes are ended. Linux,
as root for what makes PID namespaces, Python 3.11 or later.

    --binary PATH    race this one, and build nothing
    --no-install     race with what is there
    --trial          so little of everything that the figures say nothing, to see that it runs; written nowhere
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import init_idle, init_orphans, init_signals, init_start
from . import pool_crash, pool_fairness, pool_idle, pool_load, pool_loss, pool_scale
from .effort import FULL, QUICK, TRIAL
from .install import build, install, say
from .machine import is_busy, table
from .place import PLOTS, RESULTS, Race
from .plot import svg
from .processes import become_subreaper, sweep
from .report import Section, failed

# Each with the longest time that it may take, in minutes: what takes longer is broken off, and said to be.
COMPARISONS: dict[str, tuple[Callable[[Race], Section], float]] = {
    "init-start": (init_start.run, 4),
    "init-idle": (init_idle.run, 2),
    "init-forwarding": (init_signals.forwarding, 3),
    "init-term": (init_signals.term, 3),
    "init-queued": (init_signals.queued, 3),
    "init-orphans": (init_orphans.orphans, 6),
    "init-leftovers": (init_orphans.leftovers, 2),
    "pool-idle": (pool_idle.servers, 4),
    "pool-crash": (pool_crash.answers, 8),
    "pool-successor": (pool_crash.successors, 6),
    "pool-loss": (pool_loss.run, 15),
    "pool-load": (pool_load.run, 8),
    "pool-fairness": (pool_fairness.run, 4),
    "pool-scale": (pool_scale.run, 4),
    "pool-thousand": (pool_idle.thousand, 6),
}


class TimeIsUp(BaseException):
    """Of a comparison; no subject of it is to blame, so none may catch it."""


@dataclass(frozen=True)
class Done:
    section: Section
    took: float


def on_alarm(number: int, frame: object) -> None:
    raise TimeIsUp


def compare(race: Race, name: str) -> Done:
    """One comparison, of which nothing is left when it is over."""
    run, minutes = COMPARISONS[name]
    begin = time.monotonic()
    say(f"{name} ...")
    try:
        signal.setitimer(signal.ITIMER_REAL, minutes * 60)
        section = run(race)
    except TimeIsUp:
        section = failed(name, f"broken off after {minutes:.0f} minutes")
    except Exception as error:
        traceback.print_exc()
        section = failed(name, str(error) or type(error).__name__)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sweep()
    took = time.monotonic() - begin
    say(f"{name}: {took:.0f} s")
    return Done(section, took)


def document(race: Race, words: Sequence[str], done: Sequence[Done], busy: bool) -> str:
    parts = [
        "# prefork-init beside its peers",
        "This page is written by `benches/race/run`, and by nothing else; [plots/](plots) too. In each comparison all subjects are "
        "measured in turn, A B A B. Times are medians with their quartiles; ratios are the medians of the ratios of what was "
        "measured side by side, with theirs. Where a subject was not run, its line says why.",
        table(race.binary, words).markdown(),
    ]
    if busy:
        parts.append("**The machine was busy before the run: the times are noise.**")
    parts += [one.section.markdown(one.took) for one in done]
    parts.append(f"All comparisons took {sum(one.took for one in done) / 60:.0f} minutes.")
    return "\n\n".join(parts) + "\n"


def write(text: str, done: Sequence[Done]) -> None:
    RESULTS.write_text(text)
    shutil.rmtree(PLOTS, ignore_errors=True)
    PLOTS.mkdir()
    for chart in (chart for one in done for chart in one.section.charts if chart.bars):
        (PLOTS / f"{chart.name}.svg").write_text(svg(chart))
    say(f"wrote {RESULTS} and {PLOTS}")


def clean_environment() -> None:
    """Variables change what subjects do; one of ours makes us read all options anew."""
    theirs = (
        "PREFORK_",
        "LISTEN_",
        "TINI_",
        "DUMB_INIT_",
        "CATATONIT_",
        "UVICORN_",
        "GUNICORN_",
        "GRANIAN_",
        "PM2_",
    )
    others = ("PORT", "WEB_CONCURRENCY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "PYTHONPATH")
    for name in list(os.environ):
        if name.startswith(theirs) or name in others:
            del os.environ[name]


def options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "benches/race/run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--quick", action="store_true")
    kinds.add_argument("--trial", action="store_true")
    parser.add_argument("--only", metavar="NAME", action="append", choices=list(COMPARISONS), default=[])
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--binary", type=Path)
    parser.add_argument("--no-install", action="store_true")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    wanted = options(words)
    if wanted.list:
        print("\n".join(COMPARISONS))
        return 0
    effort = TRIAL if wanted.trial else QUICK if wanted.quick else FULL
    clean_environment()
    become_subreaper()
    signal.signal(signal.SIGALRM, on_alarm)
    # TERM ends it as Ctrl-C does, and everything that it has started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    busy = is_busy()
    if busy:
        say("this machine is busy: the times will be noise")
    binary = wanted.binary.resolve() if wanted.binary else build()
    scratch = Path(tempfile.mkdtemp(prefix="race-", dir="/tmp"))
    try:
        race = Race(binary, effort, scratch, install(not wanted.no_install))
        for why in sorted(set(race.missing.values())):
            say(f"MISSING: {why}")
        begin, done = time.monotonic(), list[Done]()
        for name in COMPARISONS:
            if wanted.only and name not in wanted.only:
                continue
            late = time.monotonic() - begin > effort.minutes * 60
            done.append(
                Done(failed(name, f"{effort.minutes} minutes were over"), 0) if late else compare(race, name)
            )
        text = document(race, words, done, busy)
        if wanted.trial or wanted.only and not wanted.write:
            print(text)
        else:
            write(text, done)
        return 0
    finally:
        sweep()
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
