"""The machine, and the versions of what races."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .install import DEBIAN
from .place import NODE, ROOT, VENV
from .processes import read
from .report import Table


def output(args: Sequence[str | Path]) -> str:
    try:
        result = subprocess.run(
            [str(arg) for arg in args], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip()


def value(path: str, key: str) -> str:
    """Of `key : value` or `key="value"`."""
    match = re.search(rf'^{key}\s*[:=]\s*"?([^"\n]*)', read(path), re.MULTILINE)
    return match[1].strip() if match else "?"


def versions() -> dict[str, str]:
    """Of everything that is installed."""
    packages = sorted({*DEBIAN.values(), "php*-fpm"} - {"util-linux", "gcc", "php-fpm"})
    listed = output(["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *packages])
    debian = [line for line in listed.splitlines() if len(line.split()) == 2]
    wanted = ("circus", "granian", "gunicorn", "httptools", "hypercorn", "uvicorn", "uvloop")
    frozen = output([VENV / "bin" / "pip", "freeze"]).splitlines()
    pypi = [line.replace("==", " ") for line in frozen if line.lower().startswith(wanted)]
    pm2 = (
        read(str(NODE / "node_modules" / "pm2" / "package.json"))
        .partition('"version": "')[2]
        .partition('"')[0]
    )
    return {
        "Debian's packages": ", ".join(debian) or "none",
        "PyPI": ", ".join(pypi) or "none",
        "npm": f"pm2 {pm2}" if pm2 else "none",
        "Python": f"{output([VENV / 'bin' / 'python', '--version'])} (workers), {platform.python_version()} (the race)",
        "node": output(["node", "--version"]) or "none",
        "Rust": output(["rustc", "--version"]),
    }


def table(binary: Path, words: Sequence[str]) -> Table:
    """The head of the results."""
    facts = Table(["what", "here"])
    commit = output(["git", "rev-parse", "--short=10", "HEAD"])
    changed = (
        " (changed since)"
        if output(["git", "status", "--porcelain", "src", "Cargo.toml", "Cargo.lock"])
        else ""
    )
    kilobytes = value("/proc/meminfo", "MemTotal").split()[0]
    facts.add("date", datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"))
    facts.add("command", f"`{' '.join(['benches/race/run', *words])}`")
    facts.add("prefork-init", f"commit {commit}{changed}, `cargo static`, {os.path.getsize(binary):,} bytes")
    facts.add("processor", f"{value('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores")
    facts.add("memory", f"{int(kilobytes) // 1024:,} MiB" if kilobytes.isdigit() else "?")
    facts.add("kernel", f"{platform.system()} {platform.release()}")
    facts.add("system", value("/etc/os-release", "PRETTY_NAME"))
    facts.add("load before", f"{os.getloadavg()[0]:.2f} (one minute's average)")
    for name, version in versions().items():
        facts.add(name, version)
    return facts


def is_busy() -> bool:
    """Whether the figures will be noise."""
    return os.getloadavg()[0] > 0.7
