"""How the pictures are drawn."""

import contextlib
import itertools
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import common

import matplotlib
import numpy as np
from matplotlib.artist import setp
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from support import ctc, digits

DOTS_PER_INCH = 120
BARE = {"frame_on": False, "xticks": [], "yticks": []}  # axes of which only the content is seen


@contextlib.contextmanager
def _picture(path: Path, width: float, height: float) -> Iterator[Figure]:
    """Yield a figure of a size in inches, to draw in; then write it to the path."""
    figure = Figure(figsize=(width, height), layout="constrained")
    yield figure
    figure.savefig(path, dpi=DOTS_PER_INCH)


def learning_curves(history: dict[str, list[float]], path: Path) -> None:
    """Draw every figure of the history over the epochs, training and validation in one panel."""
    training = {name: history[name] for name in history if not name.startswith("val_")}
    validation = {
        name.removeprefix("val_"): history[name] for name in history if name.startswith("val_")
    }
    _draw_epochs({"training": training, "validation": validation}, path)


def comparison(histories: dict[str, dict[str, list[float]]], path: Path) -> None:
    """Draw every figure of several trainings over the epochs, training and validation apart.

    Args:
        histories: by the label of their curves.
    """
    apart = {
        label: {
            f"training_{name}".replace("training_val_", "validation_"): values
            for name, values in history.items()
        }
        for label, history in histories.items()
    }
    _draw_epochs(apart, path)


def _draw_epochs(histories: dict[str, dict[str, list[float]]], path: Path) -> None:
    """Draw a panel for each figure, in it a curve for each history, the same in all panels."""
    names = dict.fromkeys(name for history in histories.values() for name in history)
    with _picture(path, 4.5 * len(names), 4) as figure:
        for axes, name in zip(
            figure.subplots(1, len(names), squeeze=False).flat, names, strict=True
        ):
            for marker, (label, history) in zip(itertools.cycle("os^D"), histories.items()):
                values = history.get(name, [])
                axes.plot(range(1, len(values) + 1), values, marker=marker, label=label)
            axes.set(xlabel="epoch", ylabel=name.replace("_", " "))
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
        # Inside a panel, long labels would hide the curves.
        curves = axes.get_legend_handles_labels()
        legend = figure.legend(*curves, loc="outside lower center", ncols=3)
        setp(legend.get_texts(), parse_math=False)  # a folder's name may hold what looks like math


def alignment(strips: np.ndarray, probabilities: np.ndarray, path: Path) -> None:
    """Draw each strip and under it the probability of every class over the timesteps.

    Args:
        strips: (n, T, D), columns as timesteps.
        probabilities: (n, steps, classes), class 0 the blank; steps divides T.
    """
    n, T, D = strips.shape
    with _picture(path, 10, 3.2 * n + 0.5) as figure:
        axes = figure.subplots(2 * n, 1, sharex=True, height_ratios=[D / T * 7, 1.4] * n)
        for strip, curves, pair in zip(strips, probabilities, axes.reshape(n, 2), strict=True):
            draw_alignment(*pair, strip, curves, columns=T // len(curves))
        axes[-1].set_xlabel("timestep (column of the strip)")
        curves = axes[-1].get_legend_handles_labels()
        figure.legend(*curves, loc="outside upper center", ncols=len(curves[0]), fontsize=9)


def draw_alignment(
    above: Axes, below: Axes, strip: np.ndarray, probabilities: np.ndarray, *, columns: int
) -> None:
    """Draw a strip (T, D), and below it the probability of every class over the timesteps.

    Args:
        probabilities: (steps, classes), class 0 the blank.
        columns: number of columns of the strip that make one step.
    """
    above.imshow(strip.T, cmap="gray_r", vmin=0, vmax=255, aspect="auto")
    above.set_yticks([])
    centres = (np.arange(len(probabilities)) + 0.5) * columns - 0.5
    below.plot(centres, probabilities[:, ctc.BLANK], "k:", label="blank")
    for digit, curve in enumerate(probabilities.T[1:]):
        below.plot(centres, curve, color=f"C{digit}", label=str(digit))
    below.set(ylabel="probability", ylim=(-0.05, 1.05))
    below.grid(alpha=0.3)


def draw_strip(
    above: Axes, below: Axes, strip: np.ndarray, probabilities: np.ndarray, *, columns: int
) -> None:
    """Draw what `draw_alignment` draws, the strip in its proportions, with a legend beside it."""
    draw_alignment(above, below, strip, probabilities, columns=columns)
    T, D = strip.shape
    width = max(T, D * above.bbox.width / above.bbox.height)
    setp((above, below), xlim=(-0.5, width - 0.5))
    below.set_xlabel("timestep (column of the strip)")
    below.legend(loc="lower left", bbox_to_anchor=(1.005, 0), fontsize=9)


def confusion_matrix(truth: np.ndarray, answers: np.ndarray, path: Path) -> None:
    """Draw how often each digit, a row, was read as each digit, a column.

    Args:
        truth, answers: digits, (n,).
    """
    counts = np.histogram2d(truth, answers, bins=range(digits.DIGITS + 1))[0].astype(int)
    mistakes = counts * (1 - np.eye(digits.DIGITS, dtype=int))
    with _picture(path, 6.5, 6) as figure:
        axes = figure.subplots()
        # Only mistakes set the colours, because right answers outnumber them a hundred times.
        image = axes.imshow(mistakes, cmap="Reds", vmin=0, vmax=max(1, mistakes.max()))
        for row, column in np.ndindex(counts.shape):
            axes.text(
                column,
                row,
                counts[row, column] or "",
                ha="center",
                va="center",
                color="white" if mistakes[row, column] > 0.6 * image.norm.vmax else "black",
                fontweight="bold" if row == column else "normal",
            )
        axes.set(
            title=f"{mistakes.sum():,} of {len(truth):,} wrong",
            xlabel="answer",
            ylabel="truth",
            xticks=range(digits.DIGITS),
            yticks=range(digits.DIGITS),
        )


def images(images: np.ndarray, captions: list[str], path: Path, *, columns: int = 6) -> None:
    """Draw images (n, height, width) in a grid, each under its caption."""
    with _image_grid(path, images, columns) as grid:
        for axes, caption in zip(grid, captions, strict=True):
            # Without y, matplotlib would look for ticks above the image. A file's name may hold
            # what looks like math.
            axes.set_title(caption, fontsize=9, y=1, parse_math=False)


def reading(
    images: np.ndarray,
    probabilities: np.ndarray,
    *,
    settled: np.ndarray,
    captions: list[str],
    path: Path,
) -> None:
    """Draw images under their captions, beside each row the probability of every class after it.

    Args:
        images: (n, T, D), rows as timesteps.
        probabilities: after each row, (n, T, classes).
        settled: after how many rows the answer no longer changes, (n,); a line stands above that
            row.
    """
    rows = math.ceil(len(images) / 4)
    with _picture(path, 12, 3.2 * rows) as figure:
        grid = figure.subplots(rows, 8, squeeze=False, subplot_kw=BARE).reshape(-1, 2)
        parts = zip(images, probabilities, settled, captions, strict=True)
        for (left, right), (image, classes, row, caption) in zip(grid, parts, strict=False):
            draw_reading(left, right, image, classes, settled=row)
            left.set_title(caption, fontsize=9, y=1)
            right.set_frame_on(True)


def draw_reading(
    left: Axes,
    right: Axes,
    image: np.ndarray,
    probabilities: np.ndarray,
    *,
    settled: int,
    size: int = 9,
) -> None:
    """Draw an image (T, D), beside each row the probability of every class after it.

    Args:
        probabilities: after each row, (T, classes); or after the last alone, (1, classes).
        settled: after how many rows the answer no longer changes; a line stands above that row.
        size: of the title, in points.
    """
    left.imshow(image, cmap="gray_r", vmin=0, vmax=255, aspect="auto")
    right.set(xticks=range(probabilities.shape[1]), yticks=[])
    if len(probabilities) == 1:
        right.bar(range(probabilities.shape[1]), probabilities[0], color="C0")
        right.set_ylim(0, 1)
        right.set_title("probability of each digit, 0 to 1", fontsize=size, y=1)
    else:
        right.imshow(probabilities, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        right.set_title(f"settled after {settled} rows", fontsize=size, y=1)
        for axes in left, right:
            axes.axhline(settled - 1.5, color="C1", linestyle="--")


def misread_strips(
    strips: np.ndarray,
    alignments: Iterable[list[tuple[int, int]]],
    confidence: np.ndarray,
    path: Path,
) -> None:
    """Draw strips under their labels, the truth above what was read; what differs is bold and red.

    Args:
        strips: (n, T, D), columns as timesteps, negative where they are padding.
        alignments: of each strip, see `ctc.align`.
        confidence: the probability of each reading, (n,).
    """
    with _image_grid(path, strips.transpose(0, 2, 1), columns=3) as grid:
        for axes, strip, pairs, probability in zip(
            grid, strips, alignments, confidence, strict=True
        ):
            timesteps = (strip >= 0).any(axis=1).sum()
            for row, name in enumerate(("truth", f"read ({probability:.1%})")):
                above = {"xytext": (0, 15 - 12 * row), "textcoords": "offset points", "fontsize": 9}
                axes.annotate(name, (0, 1), xycoords="axes fraction", ha="right", **above)
                for place, pair in enumerate(pairs):
                    wrong = pair[0] != pair[1]
                    axes.annotate(
                        ctc.spell(pair[row : row + 1]) or "-",
                        ((place + 0.5) / len(pairs) * timesteps, 1),
                        xycoords=("data", "axes fraction"),
                        ha="center",
                        color="red" if wrong else "black",
                        fontweight="bold" if wrong else "normal",
                        **above,
                    )


def padding(
    batches: dict[str, common.Examples], readings: dict[str, np.ndarray], path: Path
) -> None:
    """Draw the strips of batches with their padding, and below each what was read, red if wrong.

    Args:
        batches: by name, each of n strips (n, T, D), negative where they are padding, and their
            labels (n, length).
        readings: of each batch, labels (n, length).
    """
    rows = len(next(iter(batches.values())).y)
    widths = [batch.x.shape[1] for batch in batches.values()]
    colours = matplotlib.colormaps["gray_r"].with_extremes(under="C0")
    with _picture(path, min(sum(widths) / 40 + 1, 20), 0.9 * rows + 0.6) as figure:
        grid = figure.subplots(
            rows,
            len(widths),
            squeeze=False,
            width_ratios=widths,
            subplot_kw={**BARE, "frame_on": True},
        )
        for column, (name, (strips, labels)) in zip(grid.T, batches.items(), strict=True):
            share = (strips < 0).all(axis=2).mean()
            column[0].set_title(f"{name}\n{share:.0%} padding (blue)")
            spelt = (map(ctc.spell, rows) for rows in (labels, readings[name]))
            for axes, strip, truth, reading in zip(column, strips, *spelt, strict=True):
                axes.imshow(strip.T, cmap=colours, vmin=0, vmax=255)
                axes.set_xlabel(reading or "nothing", color="black" if reading == truth else "red")


@contextlib.contextmanager
def _image_grid(path: Path, images: np.ndarray, columns: int) -> Iterator[list[Axes]]:
    """Draw images (n, height, width) in a grid; yield the axes of each, with room for a caption."""
    rows = max(1, math.ceil(len(images) / columns))
    height, width = images.shape[1:]
    row_height = 10 / columns * height / width + 0.5  # inches
    with _picture(path, 10, row_height * rows) as figure:
        grid = figure.subplots(rows, columns, squeeze=False, subplot_kw=BARE).ravel()
        for axes, image in zip(grid, images, strict=False):
            axes.imshow(image, cmap="gray_r", vmin=0, vmax=255)
        yield grid[: len(images)]
