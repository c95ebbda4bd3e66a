"""The inits, and how each is called."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .place import Race, found
from .processes import Process, children, name, start, wait_for

OURS = "prefork-init"
REFERENCE = "tini-static"


@dataclass(frozen=True)
class Init:
    name: str
    program: Path
    # What it needs where it is not PID 1.
    words: tuple[str, ...] = ()
    # Ten options that change nothing here.
    ten: tuple[str, ...] = ()

    def command(self, *command: str, ten: bool = False) -> list[str]:
        return [str(self.program), *(self.ten if ten else self.words), "--", *command]


OUR_TEN = (
    "--rewrite-signal=HUP=USR1",
    "--signal-scope=group",
    "--unhandled=forward",
    "--subreaper=auto",
    "--process-group=session",
    "--orphans=wait",
    "--graceful-timeout=20s",
    "--stop-signal=TERM",
    "--log-level=warn",
    "--umask=022",
)
TINI_TEN = ("-s", "-g", "-w", *(word for code in range(1, 8) for word in ("-e", str(code))))
DUMB_TEN = tuple(word for number in range(1, 11) for word in ("--rewrite", f"{number}:{number}"))


def inits(race: Race) -> dict[str, Init]:
    """Those that are there; `missing` has the others."""
    all_of_them = [
        (OURS, race.binary, (), OUR_TEN),
        (REFERENCE, found("tini-static"), ("-s",), TINI_TEN),
        ("tini", found("tini"), ("-s",), TINI_TEN),
        ("dumb-init", found("dumb-init"), (), DUMB_TEN),
        ("catatonit", found("catatonit"), (), ()),
    ]
    return {name: Init(name, program, words, ten) for name, program, words, ten in all_of_them if program}


def missing(race: Race) -> dict[str, str]:
    names = (REFERENCE, "tini", "dumb-init", "catatonit")
    return {name: why for name, why in race.missing.items() if name in names}


def as_pid1(init: list[str], command: str, **more: object) -> tuple[Process, int]:
    """Starts it as PID 1 of a namespace, and waits until its command runs. Gives `unshare`, whose end is that of all, and
    the pid of the init out here."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    words = ["unshare", *user, "--pid", "--fork", "--mount-proc", "--kill-child", *init]
    process = start(words, **more)  # type: ignore[arg-type]

    def look() -> int | None:
        for pid in children(process.pid):
            if any(name(child) == command for child in children(pid)):
                return pid
        return None

    return process, wait_for(f"{command} below {Path(init[0]).name}", look)
