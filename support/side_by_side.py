"""Finished runs side by side: what differs in them, what they reached, whether it was luck."""

import contextlib
import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import common

import numpy as np

from support import chance, run_folder

FIGURES = {"test_accuracy": "accuracy", "test_label_error_rate": "label error rate"}
WIDTH = 80  # columns of a terminal
MOST_SETTINGS = 3  # columns of a table
NAME, CELL = 21, 13  # characters of a run's name, and of a setting: the last ones


class FinishedRun(NamedTuple):
    """What the folder of a finished run says.

    A run of lesson 4 has several figures, one of each scaling, by its name.
    """

    folder: Path
    settings: dict[str, object]
    test: tuple[object, ...]  # data and truth: where they are the same, figures can be compared
    seconds: float  # of training
    figures: dict[str, float]  # 0 to 1, by what stands above it in a table
    right: dict[str, np.ndarray]  # which test examples were read right, (n,), of each figure
    histories: dict[str, dict[str, list[float]]]  # of the training behind each figure


def load(folder: Path) -> FinishedRun:
    """Read the folder of a finished run; SettingError if there is none, or it is damaged."""
    figures, right, histories, tests, seconds = {}, {}, {}, set(), 0.0
    try:
        settings = json.loads((folder / "config.json").read_text())
        metrics = json.loads((folder / "metrics.json").read_text())
        one = run_folder.SECONDS in metrics
        for part, values in [("", metrics)] if one else metrics.items():
            (figure,) = FIGURES.keys() & values.keys()
            name = part or FIGURES[figure]
            figures[name] = float(values[figure])
            seconds += float(values[run_folder.SECONDS])
            histories[name] = run_folder.by_name(run_folder.read_epochs(folder / part))
            with (folder / part / "answers.csv").open(newline="") as file:
                _, truth, answers, _ = (
                    column[1:] for column in zip(*csv.reader(file), strict=True)
                )
            right[name] = np.equal(truth, answers)
            tests.add((settings["data_sha256"], *truth))
        (test,) = tests
        return FinishedRun(folder, settings, test, seconds, figures, right, histories)
    except Exception as error:  # whatever a damaged file raises
        reason = getattr(error, "strerror", None) or "it has not ended, or is damaged"
        raise common.SettingError(f"{folder}: there is no finished run ({reason})") from None


def finished(parent: Path) -> Iterator[FinishedRun]:
    """Yield the finished runs in a folder of runs, the last name first; pass over damaged ones."""
    for path in sorted(parent.glob("*/metrics.json"), reverse=True):
        with contextlib.suppress(common.SettingError):
            yield load(path.parent)


def differing(runs: Sequence[FinishedRun]) -> list[str]:
    """Name the settings in which runs differ, first those in which the last two do."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    places = "output", "data"  # the same data may lie anywhere
    different = [
        name for name in names if name not in places and len({_cell(run, name) for run in runs}) > 1
    ]
    return sorted(different, key=lambda name: _cell(runs[-1], name) == _cell(runs[-2], name))


def _cell(run: FinishedRun, name: str) -> str:
    value = run.settings.get(name, "-")
    # Every saved network has the same name: the end of its folder's tells it from others.
    return f"{value:g}" if isinstance(value, float) else str(value).removesuffix("model.keras")


def table(runs: Sequence[FinishedRun]) -> tuple[list[tuple[str, ...]], list[str]]:
    """Make a table of runs, the last one marked, that fits a terminal.

    Returns:
        Its rows, the first of them the names of its columns; and the settings in which the runs
        differ and for which there was no room.
    """
    figures = dict.fromkeys(name for run in runs for name in run.figures)
    names = [f"{'*' if run is runs[-1] else ''}{run.folder.name[-NAME:]}" for run in runs]
    columns = [
        ["run", *names],
        *(
            [name, *(f"{run.figures[name]:.2%}" if name in run.figures else "-" for run in runs)]
            for name in figures
        ),
        ["seconds", *(f"{run.seconds:.1f}" for run in runs)],
    ]
    left_out = []
    for name in differing(runs):
        column = [name, *(_cell(run, name)[-CELL:] for run in runs)]
        shown = len(columns) - len(figures) - 2
        width = sum(max(map(len, cells)) + 2 for cells in [*columns, column]) - 2
        if shown < MOST_SETTINGS and width <= WIDTH:
            columns.insert(1 + shown, column)
        else:
            left_out.append(name)
    return list(zip(*columns, strict=True)), left_out


def against_the_best(runs: Sequence[FinishedRun]) -> str:
    """Say whether the last of the runs is better than the best other one, or whether it was luck.

    In lesson 4 it is said of the last scaling. Nothing is said where no other run has its figure.
    The more others there are, the further the best of them comes from the last by chance: the
    probability is multiplied by their number (C. E. Bonferroni).
    """
    last, name = runs[-1], list(runs[-1].figures)[-1]
    rivals = [run for run in runs[:-1] if name in run.figures]
    if not rivals:
        return ""
    best = (min if "error" in name else max)(rivals, key=lambda run: run.figures[name])
    right, best_right = last.right[name], best.right[name]
    only_last, only_best = (right & ~best_right).sum(), (best_right & ~right).sum()
    p = min(1.0, len(rivals) * chance.of_a_difference(int(only_last), int(only_best)))
    chance_alone = f"at most {p:.2%}" if p >= 1e-4 else "less than 0.01%"
    verdict = f"the {'last' if only_last > only_best else 'other'} is better"
    return (
        f"The last against {best.folder.name}, the best other"
        f"{'' if name in FIGURES.values() else f' on {name} pixels'}: of {len(right):,} test "
        f"examples, only the last has {only_last:,} right, and only the other {only_best:,}. "
        f"Chance alone sets the last of equally good networks so far from another in "
        f"{chance_alone} of all tests (exact McNemar test, times the number of others, "
        f"{len(rivals)}), so {verdict if p <= 0.05 else 'this may be luck'}. These are two "
        f"networks: with another seed, the same settings make a third."
    )


def curves(runs: Sequence[FinishedRun]) -> dict[str, dict[str, list[float]]]:
    """Return the histories of runs by the settings in which they differ."""
    histories = {}
    for run in runs:
        shown = differing(runs)[:MOST_SETTINGS]
        label = ", ".join(f"{name} {_cell(run, name)[-CELL:]}" for name in shown) or run.folder.name
        for name, history in run.histories.items():
            part = "" if name in FIGURES.values() else f"{name} pixels "
            if part + label in histories:
                label += f", {run.folder.name}"
            histories[part + label] = history
    return histories
