"""What a benchmark says about the machine, above its tables."""

import contextlib
import os
import platform
from datetime import date
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path


def machine(*packages: str) -> str:
    """Name the date, the processor and its cores, and the versions of Python and the packages.

    Packages that are not installed are left out. The line ends with a line break.
    """
    installed = [import_module(name) for name in packages if find_spec(name)]
    versions = ", ".join(f"{package.__name__} {package.__version__}" for package in installed)
    python = f"Python {platform.python_version()}"
    return f"{date.today()}, {os.cpu_count()} cores of {processor()}, {python}, {versions}\n"


def processor() -> str:
    """Name this machine's processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor() or platform.machine()
