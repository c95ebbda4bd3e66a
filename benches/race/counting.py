"""What does not depend on the machine: instructions, system calls, page faults."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .place import BUILT, found
from .processes import Failed, start, wait_for

# Not the terminal's: some inits take it for their command.
DEVNULL = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in range(3)]


def spawn(args: Sequence[str]) -> int:
    """As quick as Python can."""
    return os.posix_spawn(args[0], list(args), os.environ, file_actions=DEVNULL)


def page_faults(args: Sequence[str]) -> int:
    """Those without I/O, of a command and all it has waited for: the median of some runs."""

    def once() -> int:
        _, status, usage = os.wait4(spawn(args), 0)
        return usage.ru_minflt

    return round(statistics.median(once() for _ in range(15)))


def steps(args: Sequence[str], processor: int) -> str:
    """Both ends of ptrace on one processor: they take turns, and need not wake another."""
    words = ["taskset", "-c", str(processor), str(BUILT / "helper"), "steps", *args]
    try:
        result = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return "not counted within 120 s"
    return f"{int(result.stdout):,}" if result.returncode == 0 else f"ended with {result.returncode}"


def instructions(commands: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Of each process itself until its end; what it executes as a child is not counted. That takes no time that is measured,
    so every processor counts."""
    left, counts = list(commands.items()), dict[str, str]()

    def count(processor: int) -> None:
        while left:
            name, args = left.pop()
            counts[name] = steps(args, processor)

    with ThreadPoolExecutor() as threads:
        list(threads.map(count, sorted(os.sched_getaffinity(0))))
    return counts


def is_call(line: str) -> bool:
    return bool(line) and "resumed>" not in line and not line.startswith(("---", "+++"))


def calls_of_a_run(args: Sequence[str]) -> str:
    """The system calls of an init from its own execve to its end, and of its child until that has become the command."""
    strace = found("strace")
    if strace is None:
        return "strace is missing"
    with tempfile.NamedTemporaryFile("r") as trace:
        words = [str(strace), "-f", "-qq", "-o", trace.name, *args]
        subprocess.run(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60, check=True)
        lines = [line.split(None, 1) for line in trace.read().splitlines()]
    own, count, executed = lines[0][0], 0, set[str]()
    for pid, call in lines:
        if pid != own and pid in executed or not is_call(call):
            continue
        count += 1
        # The child's own: it has become the command (or will have, if strace saw others meanwhile).
        if pid != own and call.startswith("execve("):
            executed.add(pid)
    return str(count)


def calls_while(pid: int, act: Callable[[], None]) -> int:
    """The system calls of a process while something happens to it, which then waits again or has ended."""
    strace = found("strace")
    if strace is None:
        raise Failed("strace is missing")
    with tempfile.TemporaryDirectory() as directory:
        trace, said = Path(directory, "trace"), Path(directory, "said")
        tracer = start([strace, "-o", trace, "-p", str(pid)], log=said)
        try:
            wait_for("strace", lambda: "attached" in said.read_text())
            act()
        finally:
            if tracer.poll() is None:
                tracer.send_signal(signal.SIGINT)
            tracer.wait(20)
        lines = [line for line in trace.read_text().splitlines() if is_call(line)]
    # The first is the wait in which it was found.
    return max(0, len(lines) - 1)
