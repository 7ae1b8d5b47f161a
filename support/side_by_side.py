"""Finished runs side by side: where they differ, what they reached, whether it was luck."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import common

import numpy as np

from support import chance, run_folder

FIGURES = {"test_accuracy": "accuracy", "test_label_error_rate": "label error rate"}
WIDTH = 80  # columns of a terminal
MOST_SETTINGS = 3  # shown in the name of a curve
NAME, CELL = 21, 13  # the last characters of a run's name, and of a setting, are shown


class FinishedRun(NamedTuple):
    """What the folder of a finished run says.

    A run of lesson 4 has several figures, each with the name of its scaling.
    """

    folder: Path
    settings: dict[str, object]
    test: tuple[object, ...]  # data and truth: where they are the same, figures can be compared
    seconds: float  # of training
    figures: dict[str, float]  # 0 to 1, by the heading of its column in a table
    right: dict[str, np.ndarray]  # which test examples were read right, (n,), of each figure
    histories: dict[str, dict[str, list[float]]]  # of the training behind each figure


def load(folder: Path, like: FinishedRun | None = None) -> FinishedRun:
    """Read the folder of a finished run.

    Raises:
        SettingError: there is none, it is damaged, or its test was not that of the run `like`.
    """
    figures, right, histories, seconds, tests = {}, {}, {}, 0.0, set()
    try:
        settings = json.loads((folder / "config.json").read_text())
        metrics = json.loads((folder / "metrics.json").read_text())
        parts = {"": metrics} if run_folder.SECONDS in metrics else metrics
        for part, values in parts.items():
            (figure,) = FIGURES.keys() & values.keys()
            name = part or FIGURES[figure]
            figures[name] = float(values[figure])
            seconds += float(values[run_folder.SECONDS])
            histories[name] = run_folder.by_name(run_folder.read_epochs(folder / part))
            _, truth, answers, _ = np.loadtxt(
                folder / part / "answers.csv", str, delimiter=",", skiprows=1, ndmin=2
            ).T
            right[name] = truth == answers
            tests.add((settings["data_sha256"], *truth))
        (test,) = tests  # all parts had the same
    except Exception:  # whatever a missing or damaged file raises
        raise common.SettingError(
            f"{folder}: there is no finished run: it is missing, has not ended, or is damaged"
        ) from None
    if like and test != like.test:
        raise common.SettingError(f"{folder}: name runs that were tested on the same examples")
    return FinishedRun(folder, settings, test, seconds, figures, right, histories)


def finished(parent: Path, like: FinishedRun | None = None) -> Iterator[FinishedRun]:
    """Yield the finished runs in a folder that had the same test, the last by name first.

    The test is that of the run `like`, or of the first run that is found. Damaged runs are skipped.
    """
    for path in sorted(parent.glob("*/metrics.json"), reverse=True):
        with contextlib.suppress(common.SettingError):
            run = load(path.parent, like)
            like = like or run
            yield run


def differing(runs: Sequence[FinishedRun]) -> list[str]:
    """Name the settings in which two or more runs differ, first those in which the last two do."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    places = "output", "data"  # the same data may lie anywhere
    different = [
        name
        for name in names
        if name not in places and len({run.settings.get(name) for run in runs}) > 1
    ]
    *_, before, last = runs
    return sorted(different, key=lambda name: before.settings.get(name) == last.settings.get(name))


def _cell(run: FinishedRun, name: str) -> str:
    value = run.settings.get(name, "-")
    # Every saved network has the same name: the end of its folder's name tells it from others.
    text = f"{value:g}" if isinstance(value, float) else str(value).removesuffix("model.keras")
    return text[-CELL:]


def table(runs: Sequence[FinishedRun]) -> list[tuple[str, ...]]:
    """Make a table of runs, the last one marked, with as many settings as fit into a terminal.

    Returns:
        The rows; the first has the names of the columns.
    """
    columns = [["run", *(run.folder.name[-NAME:] for run in runs)]]
    columns[0][-1] = f"*{columns[0][-1]}"
    figures = [
        [name, *(f"{run.figures[name]:.2%}" if name in run.figures else "-" for run in runs)]
        for name in dict.fromkeys(name for run in runs for name in run.figures)
    ]
    figures.append(["seconds", *(f"{run.seconds:.1f}" for run in runs)])
    for name in differing(runs):
        more = [*columns, [name, *(_cell(run, name) for run in runs)]]
        if sum(2 + max(map(len, column)) for column in more + figures) <= 2 + WIDTH:
            columns = more
    return list(zip(*columns, *figures, strict=True))


def against_the_best(runs: Sequence[FinishedRun]) -> str:
    """Say whether the last of the runs is better than the best other one, or whether it was luck.

    The best one read the most examples right; in lessons 2 and 3, the most whole strips, whatever
    the label error rate. In lesson 4, the last scaling is compared. The text is empty if no other
    run has this figure. The more other runs there are, the further the best of them may be from the
    last by chance, so the probability is multiplied by their number (C. E. Bonferroni).
    """
    last, name = runs[-1], list(runs[-1].figures)[-1]
    rivals = [run for run in runs[:-1] if name in run.figures]
    if not rivals:
        return ""
    # Of runs with equally many whole strips, the one with the lower label error rate.
    best = max(rivals, key=lambda run: (run.right[name].sum(), -run.figures[name]))
    right, best_right = last.right[name], best.right[name]
    only_last, only_best = (right & ~best_right).sum(), (best_right & ~right).sum()
    p = min(1.0, len(rivals) * chance.of_a_difference(int(only_last), int(only_best)))
    of = {"accuracy": "", "label error rate": " in whole strips"}.get(name, f" on {name} pixels")
    verdict = f"the {'last' if only_last > only_best else 'other'} is better{of}"
    return (
        f"The last against {best.folder.name}, the best other{of}: of {len(right):,} test "
        f"examples, only the last has {only_last:,} right, and only the other {only_best:,}. "
        f"Chance alone sets the last of equally good networks so far from another in "
        f"at most {max(p, 1e-4):.2%} of all tests (exact McNemar test, times the number of others, "
        f"{len(rivals)}), so {verdict if p <= 0.05 else 'this may be luck'}. These are two "
        f"networks: with another seed, the same settings make a third."
    )


def curves(runs: Sequence[FinishedRun]) -> dict[str, dict[str, list[float]]]:
    """Return the histories of runs by their names and the settings in which they differ."""
    shown = differing(runs)[:MOST_SETTINGS]
    histories = {}
    for run in runs:
        label = ", ".join([run.folder.name, *(f"{name} {_cell(run, name)}" for name in shown)])
        for name, history in run.histories.items():
            part = "" if name in FIGURES.values() else f"{name} pixels "
            histories[part + label] = history
    return histories
