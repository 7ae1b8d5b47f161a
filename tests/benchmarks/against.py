"""Train the default networks of another checkout and of this one, in turns, to compare them.

    git worktree add ../before COMMIT
    python tests/benchmarks/against.py ../before [SCRIPT ...]

Each script is trained with the seeds 0, 1 and 2, first there, then here. Prints a Markdown table of
the test figures and the seconds of training: mean and standard deviation over the seeds.
"""

import statistics
import sys
from pathlib import Path

from accuracy import ROOT, SEEDS, train
from backends import SCRIPTS
from machine import machine


def spread(values: list[float], form: str) -> str:
    """Write the mean and standard deviation of numbers, both in a format such as ".2%"."""
    return f"{statistics.mean(values):{form}} ± {statistics.stdev(values):{form}}"


def main() -> None:
    """Train the networks and print the table, a row after each command."""
    before, *names = sys.argv[1:]
    print(machine("keras", "tensorflow"))
    heads = "command", "figure", "before", "now", "seconds before", "seconds now"
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for command, figure in SCRIPTS.items():
        script, *arguments = command.split()
        if names and script not in names:
            continue
        runs = {Path(before): [], ROOT: []}
        for seed in SEEDS:
            for root in runs:
                runs[root] += train(script, arguments, seed, root=root).values()
        cells = [
            spread([run[name] for run in metrics], form)
            for name, form in ((figure, ".2%"), ("training_seconds", ".1f"))
            for metrics in runs.values()
        ]
        print(f"| {' | '.join([f'`python {command}`', figure, *cells])} |", flush=True)


if __name__ == "__main__":
    main()
