"""Run a script with the seeds 0, 1 and 2 and print its results as a row of the README's table.

    python tests/benchmarks/accuracy.py classic.py --cell GRU

What follows the script's name is handed to it. The runs are written to runs/ as usual.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SEEDS = 0, 1, 2


def main() -> None:
    """Run, read each run's metrics.json, print mean and spread of every test figure."""
    script, *arguments = sys.argv[1:]
    runs = []
    for seed in SEEDS:
        command = [sys.executable, ROOT / script, *arguments, "--seed", str(seed)]
        printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        folder = Path(printed.splitlines()[-1].removeprefix("wrote "))
        runs.append(json.loads((folder / "metrics.json").read_text()))
        print(f"seed {seed}: {runs[-1]}", flush=True)
    for name in runs[0]:
        values = [run[name] for run in runs]
        print(
            f"{name}: mean {statistics.mean(values):.5g}, standard deviation "
            f"{statistics.stdev(values):.2g}, from {min(values):.5g} to {max(values):.5g}"
        )


if __name__ == "__main__":
    main()
