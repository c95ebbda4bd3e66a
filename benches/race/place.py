"""Where everything is, and what could not be had."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from .effort import Effort

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = ROOT / "target"
VENV = TARGET / "race-venv"
NODE = TARGET / "race-node"
BUILT = TARGET / "race"
RESULTS = HERE.parent / "RESULTS.md"
PLOTS = HERE.parent / "plots"
# The applications of the loss test.
APPS = ROOT / "tests" / "loss" / "apps"
OWN_APPS = HERE / "apps"


@dataclass
class Race:
    """What every comparison is given."""

    binary: Path
    effort: Effort
    # A directory that is removed at the end.
    scratch: Path
    # Why a program is not there.
    missing: dict[str, str] = field(default_factory=dict)
    made: int = 0

    def directory(self, name: str) -> Path:
        """A new one."""
        self.made += 1
        path = self.scratch / f"{self.made}-{re.sub('[^a-z0-9]+', '-', name)}"
        path.mkdir()
        return path


def found(program: str) -> Path | None:
    """A program from PyPI or npm, of our own, or of the system."""
    if program == "php-fpm":
        # Debian puts the version behind.
        return next(Path("/usr/sbin").glob("php-fpm*"), None)
    for folder in (VENV / "bin", NODE / "node_modules" / ".bin", BUILT):
        if (folder / program).exists():
            return folder / program
    path = shutil.which(program, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    return Path(path) if path else None
