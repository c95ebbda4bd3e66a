"""Builds what races, and installs the peers by their ordinary clients. What cannot be had is said, and raced without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from contextlib import contextmanager
from collections.abc import Iterator
from pathlib import Path

from .place import BUILT, HERE, NODE, ROOT, VENV, found

# The program that each of Debian's packages is for.
DEBIAN = {
    "tini": "tini",
    "tini-static": "tini",
    "dumb-init": "dumb-init",
    "catatonit": "catatonit",
    "s6-svscan": "s6",
    "runsvdir": "runit",
    "supervisord": "supervisor",
    "nginx": "nginx-light",
    "php-fpm": "php-fpm",
    "strace": "strace",
    "wrk": "wrk",
    "unshare": "util-linux",
    "cc": "gcc",
    "node": "nodejs",
}
PYPI = ("gunicorn", "uvicorn", "hypercorn", "granian", "circusd")
PM2 = "pm2@7.0.4"
POLICY = Path("/usr/sbin/policy-rc.d")


def say(text: str) -> None:
    print(f"race: {text}", file=sys.stderr, flush=True)


def run(args: Sequence[str | Path]) -> str | None:
    """Runs a client, and tells why it failed, beside what it says on stderr."""
    words = [str(arg) for arg in args]
    try:
        result = subprocess.run(
            words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=900
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return f"{Path(args[0]).name} ended with {result.returncode}" if result.returncode else None


def build() -> Path:
    """The binary that is shipped."""
    result = subprocess.run(["cargo", "static"], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    return Path(result.stdout.splitlines()[-1])


@contextmanager
def no_services() -> Iterator[None]:
    """Debian's packages start what they install, but where this file says no (invoke-rc.d(8))."""
    if POLICY.exists():
        yield
        return
    try:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def debian() -> dict[str, str]:
    lacking = sorted({package for program, package in DEBIAN.items() if found(program) is None})
    if lacking and os.geteuid() != 0:
        say(f"not root: does not install {' '.join(lacking)}")
    elif lacking and shutil.which("apt-get"):
        os.environ["DEBIAN_FRONTEND"] = "noninteractive"
        with no_services():
            run(["apt-get", "-qq", "update"])
            # One that is not to be had does not keep the others away.
            for package in lacking:
                say(f"installs {package}")
                run(["apt-get", "-qq", "install", "-y", "--no-install-recommends", package])
    return {
        program: f"`{program}` is missing: `apt-get install {package}`"
        for program, package in DEBIAN.items()
        if found(program) is None
    }


def pypi() -> dict[str, str]:
    wanted = (HERE / "requirements.txt").read_text()
    marker = VENV / "race-wanted"
    if not marker.exists() or marker.read_text() != wanted:
        say(f"installs gunicorn, uvicorn, hypercorn, granian and circus into {VENV}")
        shutil.rmtree(VENV, ignore_errors=True)
        try:
            venv.create(VENV, with_pip=True)
        except (OSError, subprocess.CalledProcessError) as error:
            return {program: f"no virtual environment: {error}" for program in PYPI}
        pip: list[str | Path] = [VENV / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
        if run([*pip, "-r", HERE / "requirements.txt"]) is None:
            marker.write_text(wanted)
        else:
            for line in wanted.splitlines():
                if line and not line.startswith("#"):
                    run([*pip, line])
    return {
        program: f"`{program}` is missing: `pip install -r benches/race/requirements.txt`"
        for program in PYPI
        if not (VENV / "bin" / program).exists()
    }


def npm() -> dict[str, str]:
    if found("pm2") is None:
        if shutil.which("npm") is None:
            return {"pm2": "`npm` is missing, which installs it"}
        say(f"installs pm2 into {NODE}")
        NODE.mkdir(parents=True, exist_ok=True)
        run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", NODE, PM2])
    return {} if found("pm2") else {"pm2": f"`pm2` is missing: `npm install {PM2}`"}


def helpers() -> dict[str, str]:
    """The race's own programs in C and Rust."""
    BUILT.mkdir(parents=True, exist_ok=True)
    made: dict[str, list[str | Path]] = {
        "helper": ["cc", "-O2", "-w", "-o", BUILT / "helper", HERE / "helper.c"],
        "load": ["rustc", "--edition=2024", "-O", "-o", BUILT / "load", HERE / "load.rs"],
    }
    reasons = {name: run(args) for name, args in made.items()}
    return {name: f"`{name}` was not built: {why}" for name, why in reasons.items() if why}


def install(peers: bool) -> dict[str, str]:
    """Everything; with `peers` unset only what is built here. Gives what is missing, and why."""
    if not peers:
        say("installs nothing")
        lacking = {
            program: f"`{program}` is missing"
            for program in [*DEBIAN, *PYPI, "pm2"]
            if found(program) is None
        }
        return {**lacking, **helpers()}
    return {**debian(), **pypi(), **npm(), **helpers()}
