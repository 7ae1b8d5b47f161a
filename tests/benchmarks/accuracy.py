"""Run a script with the seeds 0, 1 and 2, and print the mean and spread of its results.

    python tests/benchmarks/accuracy.py classic.py --cell GRU

What follows the script's name is handed on to it. The runs are written to runs/ as usual.
"""

import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from machine import machine

ROOT = Path(__file__).parent.parent.parent
SEEDS = 0, 1, 2


def train(
    script: str, arguments: list[str], seed: int, *, root: Path = ROOT, **environment: str
) -> dict[str, dict[str, float | None]]:
    """Run a script of the checkout `root`; return what it wrote to metrics.json.

    Args:
        arguments: options of the script, but for its seed.
        environment: variables to add to the environment of the script.

    Returns:
        Metrics by what was trained: the scalings of standardize.py, or else the script.

    Raises:
        subprocess.CalledProcessError: the script has failed.
    """
    printed = subprocess.run(
        [sys.executable, root / script, *arguments, "--seed", str(seed)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    runs = {}
    for folder in map(Path, re.findall(r"^wrote (.+)$", printed, re.MULTILINE)):
        name = folder.name if script == "standardize.py" else script
        runs[name] = json.loads((folder / "metrics.json").read_text())
    return runs


@contextlib.contextmanager
def trained(command: str, seed: int = 0) -> Iterator[Path]:
    """Train one network by a command; yield its file, whose folder is removed afterwards."""
    script, *arguments = command.split()
    with tempfile.TemporaryDirectory() as output:
        train(script, [*arguments, "--output", output], seed)
        (path,) = Path(output).rglob("model.keras")
        yield path


def main() -> None:
    """Run; print each run's metrics, then the mean and spread of every figure."""
    script, *arguments = sys.argv[1:]
    print(machine("keras", "tensorflow"))
    runs: dict[str, list[dict]] = {}
    for seed in SEEDS:
        for name, metrics in train(script, arguments, seed).items():
            runs.setdefault(name, []).append(metrics)
            print(f"{name}, seed {seed}: {metrics}", flush=True)
    for name, metrics in runs.items():
        print(f"\n{name}")
        for figure in metrics[0]:
            values = [run[figure] for run in metrics]
            if None in values:
                print(f"{figure}: {values}")
                continue
            print(
                f"{figure}: mean {statistics.mean(values):.5g}, standard deviation "
                f"{statistics.stdev(values):.2g}, from {min(values):.5g} to {max(values):.5g}"
            )


if __name__ == "__main__":
    main()
