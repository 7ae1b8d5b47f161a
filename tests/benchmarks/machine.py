"""What a benchmark says of the machine above its tables."""

import contextlib
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path


def machine(*packages: str) -> str:
    """Name the date, the processor, and the versions of Python and of packages."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{date.today()}, {processor()}, Python {platform.python_version()}, {versions}\n"


def processor() -> str:
    """Name this machine's processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor() or platform.machine()
