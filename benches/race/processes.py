"""Processes: started, looked at in /proc, and ended whatever happens."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, TypeVar

T = TypeVar("T")
PR_SET_CHILD_SUBREAPER = 36
Process = subprocess.Popen[bytes]


class Failed(Exception):
    """A subject did not do what was asked of it: its line in the table says so."""


def become_subreaper() -> None:
    """Whatever a subject leaves behind comes to us, so that all of it can be ended."""
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError("prctl(PR_SET_CHILD_SUBREAPER)")


def start(
    args: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
) -> Process:
    """In a session of its own; stderr goes to the log."""
    environment = {**os.environ, **(env or {})}
    environment.pop("WEB_CONCURRENCY", None)
    with open(log or "/dev/null", "ab") as errors:
        return subprocess.Popen(
            [str(arg) for arg in args],
            env=environment,
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=errors,
            start_new_session=True,
        )


def wait_for(what: str, look: Callable[[], T | None], seconds: float = 20, pause: float = 0.005) -> T:
    """What `look` gives once that is something."""
    deadline = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds:.0f} s")
        time.sleep(pause)


def read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def threads(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []


def children(pid: int) -> list[int]:
    texts = (read(f"/proc/{pid}/task/{thread}/children") for thread in threads(pid))
    return [int(child) for text in texts for child in text.split()]


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for child in children(pid):
        found += [child, *descendants(child)]
    return found


def is_dead(pid: int) -> bool:
    """Gone, or a zombie."""
    stat = read(f"/proc/{pid}/stat")
    return not stat or stat.rpartition(")")[2].split()[0] in "ZX"


def name(pid: int) -> str:
    return read(f"/proc/{pid}/comm").strip()


def memory(pids: Iterable[int]) -> dict[str, int]:
    """The sums of what smaps_rollup says of them, in kB (proc_pid_smaps(5))."""
    sums: dict[str, int] = {}
    for pid in pids:
        for line in read(f"/proc/{pid}/smaps_rollup").splitlines()[1:]:
            key, value = line.split(":")
            sums[key] = sums.get(key, 0) + int(value.split()[0])
    return sums


def wake_ups(pids: Iterable[int]) -> int:
    """How often they have waited and gone on: voluntary switches (proc_pid_status(5)), of all threads."""
    lines = [
        line
        for pid in pids
        for thread in threads(pid)
        for line in read(f"/proc/{pid}/task/{thread}/status").splitlines()
    ]
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def processor_time(pids: Iterable[int]) -> float:
    """Seconds, to the nanosecond: the first number of schedstat, of all threads."""
    texts = [read(f"/proc/{pid}/task/{thread}/schedstat") for pid in pids for thread in threads(pid)]
    return sum(int(text.split()[0]) for text in texts if text) / 1e9


def send(pid: int, number: int) -> None:
    if pid <= 1:
        raise Failed(f"{pid} is no process of the race")
    os.kill(pid, number)


def kill_all(pids: Iterable[int]) -> None:
    for pid in pids:
        try:
            send(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def sweep() -> None:
    """Ends everything below us, orphans too."""
    deadline = time.monotonic() + 20
    while below := descendants(os.getpid()):
        kill_all(below)
        reap()
        if time.monotonic() > deadline:
            raise Failed(f"processes that do not end: {below[:10]}")
        time.sleep(0.01)


def kill(process: Process) -> None:
    """With all that is below it, at once."""
    kill_all([*descendants(process.pid), process.pid])
    process.wait()


def end(process: Process, seconds: float = 15) -> None:
    """TERM, and KILL for it and all below it where that takes too long."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        kill(process)
