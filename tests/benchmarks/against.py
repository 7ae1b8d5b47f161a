"""Train the default networks of another checkout and of this one, in turns, and compare them.

    git worktree add ../before COMMIT
    python tests/benchmarks/against.py ../before [SCRIPT ...]

Each script is trained with the seeds 0, 1 and 2, first there, then here. Prints a line a run, and a
Markdown table of the test figures and of the seconds of training, mean and standard deviation over
the seeds. Exits with code 1 if a figure here is worse, or the seconds are more than 0.6 of those
there.
"""

import statistics
import sys
from pathlib import Path

from accuracy import ROOT, SEEDS, train
from machine import machine

SCRIPTS = {  # with the figure that counts, and whether more of it is better
    "classic.py": ("test_accuracy", 1),
    "seq_labelling.py": ("test_label_error_rate", -1),
    "variable_length_seq.py": ("test_label_error_rate", -1),
    "standardize.py": ("test_accuracy", 1),
}
SECONDS = "training_seconds"
MOST_TIME = 0.6


def compare(script: str, before: Path) -> dict[str, dict[str, list[dict]]]:
    """Train a script with every seed in both checkouts, in turns.

    Returns:
        The metrics of each seed, by what was trained, then by "before" and "now".
    """
    runs: dict[str, dict[str, list[dict]]] = {}
    for seed in SEEDS:
        for when, root in (("before", before), ("now", ROOT)):
            for name, metrics in train(script, [], seed, root=root).items():
                runs.setdefault(name, {}).setdefault(when, []).append(metrics)
                figure, _ = SCRIPTS[script]
                print(f"{name}, seed {seed}, {when}: {metrics[figure]:.2%}, {metrics[SECONDS]} s")
                sys.stdout.flush()
    return runs


def spread(figures: list[float]) -> str:
    """Say the mean and standard deviation of shares, in percent."""
    return f"{statistics.mean(figures):.2%} ± {100 * statistics.stdev(figures):.2f}"


def main() -> None:
    """Compare, print the table."""
    before, *names = sys.argv[1:]
    print(machine("keras", "tensorflow"))
    rows, failed = [], False
    for script in names or SCRIPTS:
        figure, sign = SCRIPTS[script]
        for name, times in compare(script, Path(before)).items():
            figures = {when: [run[figure] for run in runs] for when, runs in times.items()}
            seconds = {when: [run[SECONDS] for run in runs] for when, runs in times.items()}
            ratio = sum(seconds["now"]) / sum(seconds["before"])
            gain = statistics.mean(figures["now"]) - statistics.mean(figures["before"])
            failed |= ratio > MOST_TIME or sign * gain < 0
            rows.append(
                f"| {name} | {figure.replace('_', ' ')} | "
                + " | ".join(spread(figures[when]) for when in figures)
                + " | "
                + " | ".join(f"{statistics.mean(seconds[when]):.1f} s" for when in seconds)
                + f" | {ratio:.2f} |"
            )
    print("\n| what | figure | before | now | seconds before | now | now / before |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(rows))
    sys.exit(failed)


if __name__ == "__main__":
    main()
