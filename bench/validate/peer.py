"""reladiff, in an environment of its own: what it needs may be at odds with Airflow."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from bench.validate.shapes import Shape

VERSION = "0.6.0"
HOME = Path(__file__).parents[2] / ".reladiff"


def install() -> Path:
    """The program; installed where it is not there yet."""
    program = HOME / "bin" / "reladiff"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True)
        pip = [str(HOME / "bin" / "pip"), "install", "--quiet", f"reladiff[postgresql]=={VERSION}", "psycopg2-binary"]
        subprocess.run(pip, check=True)
    return program


def compare(program: Path, source: str, target: str, shape: Shape) -> tuple[float, int]:
    """
    Seconds that it takes for all columns of one table, and how many lines of difference it writes.

    Raises `subprocess.CalledProcessError` where it cannot compare the table.
    """
    keys = [word for name in shape.key for word in ("-k", name)]
    start = time.monotonic()
    done = subprocess.run(
        [str(program), source, shape.name, target, shape.name, *keys, "-c", "%", "--threads", "2"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return time.monotonic() - start, sum(line.startswith(("+", "-")) for line in done.stdout.splitlines())
