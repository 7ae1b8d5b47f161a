"""What is printed and written after a test."""

import contextlib
import itertools
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import common

import keras
import numpy as np

from support import chance, ctc, plots, run_folder, side_by_side
from support.run_folder import Run

BATCH_SIZE = 500
WORST = 24  # mistakes that misread.png shows
MOST_RUNS, MOST_CURVES = 8, 10  # runs in the table after a test; runs that --compare draws


def classifier(
    network: keras.Model,
    test: common.Examples,
    figures: dict[str, float],
    run: Run,
    *,
    reader: keras.Model | None = None,
    more: dict[str, float | None] | None = None,
) -> dict[str, float]:
    """Print and write what a classifier made of the test, with ten answers beside the truth.

    Writes to the run's folder: answers.csv, of all examples; confusion_matrix.png; misread.png, the
    most confident mistakes; with a reader, reading.png; metrics.json; and learning_curves.png.

    Args:
        network: gives logits (n, classes).
        figures: those of the test: loss (mean cross-entropy, in nats) and accuracy (0 to 1).
        reader: a network that gives logits after each timestep, (n, T, classes), if there is one.
        more: further figures for metrics.json.

    Returns:
        All figures: these, the number of right answers and of all, with a reader the mean number of
        rows until an answer is settled, and the seconds of training.
    """
    logits = network.predict(test.x, batch_size=BATCH_SIZE, verbose=0)
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    answers, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    metrics = {
        **{f"test_{name}": value for name, value in figures.items()},
        "test_right": int((answers == test.y).sum()),
        "test_size": len(test.y),
    }
    interval = _spelt(chance.interval_of_share(metrics["test_right"], metrics["test_size"]))
    print(
        "\ntest loss {test_loss:.4f}\n"
        "test accuracy {test_accuracy:.2%} ({test_right:,} of {test_size:,})".format(**metrics)
        + f", 95% interval {interval}"
    )
    _show_answers("answer", test.y, answers, confidence, run.folder)
    plots.confusion_matrix(test.y, answers, run.folder / "confusion_matrix.png")
    worst = most_confident(answers != test.y, confidence)
    captions = _captions(test.y[worst], answers[worst], confidence[worst])
    plots.images(test.x[worst], captions, run.folder / "misread.png")
    if reader:
        metrics |= reading(test, reader.predict(test.x, batch_size=BATCH_SIZE, verbose=0), run)
    return finish(run, metrics | (more or {}))


def _captions(truth: np.ndarray, answers: np.ndarray, confidence: np.ndarray) -> list[str]:
    return [
        f"{true_digit} read as {answer}\n{probability:.1%}"
        for true_digit, answer, probability in zip(truth, answers, confidence, strict=True)
    ]


def most_confident(wrong: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Return the indices of the most confident mistakes, the most confident first.

    Args:
        wrong: whether each answer is wrong, (n,).
        confidence: the probability of each answer, (n,).
    """
    (mistakes,) = np.nonzero(wrong)
    return mistakes[np.argsort(-confidence[mistakes], kind="stable")][:WORST]


def reading(test: common.Examples, logits: np.ndarray, run: Run) -> dict[str, float]:
    """Print and draw how a classifier's answer forms while it reads.

    Writes to the run's folder: reading.png, with four digits that were read right and the four that
    the network was least sure of.

    Args:
        logits: after each timestep, (n, T, classes).

    Returns:
        test_rows_until_settled: after how many timesteps, on average, the answer no longer changes.
    """
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    answers, confidence = probabilities.argmax(axis=2), probabilities[:, -1].max(axis=1)
    settled = timesteps_until_settled(answers)
    print(
        f"\nafter {settled.mean():.1f} of {logits.shape[1]} rows, on average, the answer no longer "
        f"changes"
    )
    order = np.argsort(confidence, kind="stable")  # the least sure first
    right = np.setdiff1d(np.flatnonzero(answers[:, -1] == test.y), order[:4])
    shown = [*right[:4], *order[:4]]
    plots.reading(
        test.x[shown],
        probabilities[shown],
        settled=settled[shown],
        captions=_captions(test.y[shown], answers[shown, -1], confidence[shown]),
        path=run.folder / "reading.png",
    )
    return {"test_rows_until_settled": float(settled.mean())}


def timesteps_until_settled(answers: np.ndarray) -> np.ndarray:
    """Count the timesteps, (n,), after which each of the answers (n, T) no longer changes."""
    others = answers != answers[:, -1:]
    return np.where(others, np.arange(1, answers.shape[1] + 1), 0).max(axis=1) + 1


def labeller(
    test: common.Examples,
    logits: np.ndarray,
    figures: dict[str, float],
    run: Run,
    *,
    greedy: np.ndarray,
    beam: np.ndarray,
) -> dict[str, float]:
    """Print and write what a labeller made of the test, with ten readings beside the truth.

    Writes to the run's folder: answers.csv, of all strips; alignment.png, the probability of every
    class over the steps; misread.png, the most confident mistakes; metrics.json and
    learning_curves.png.

    Args:
        logits: (n, steps, classes), class 0 the blank.
        figures: those of the test: loss (mean over the strips, in nats), label_error_rate and
            sequence_error_rate (0 to 1) of greedy decoding.
        greedy, beam: labels read by greedy decoding and by beam search, (n, length).

    Returns:
        All figures: these, the error rates of beam search, the number of strips, the error rates
        for each number of labels, if strips differ in it, and the seconds of training.
    """
    greedy, beam = map(ctc.trimmed, (greedy, beam))
    confidence = ctc.confidences(greedy, logits)
    distances, of_beam = (
        keras.ops.convert_to_numpy(ctc.edit_distances(test.y, reading))
        for reading in (greedy, beam)
    )
    print(f"\ntest loss {figures['loss']:.4f}")
    rates = _print_rates((test.y > ctc.BLANK).sum(axis=1), distances, of_beam)
    spelt = (list(map(ctc.spell, labels)) for labels in (test.y, greedy))
    _show_answers("reading", *spelt, confidence, run.folder)
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits[:3]))
    plots.alignment(test.x[:3], probabilities, run.folder / "alignment.png")
    worst = most_confident(distances > 0, confidence)
    pairs = map(ctc.align, test.y[worst], greedy[worst])
    plots.misread_strips(test.x[worst], pairs, confidence[worst], run.folder / "misread.png")
    metrics = {f"test_{name}": value for name, value in figures.items()}
    metrics["test_size"] = len(test.y)
    # `rates` holds those of greedy decoding too; those that Keras has evaluated take their place.
    return finish(run, metrics | rates | metrics)


def padding(network: keras.Model, test: common.Examples, run: Run) -> None:
    """Draw two batches of padded strips with what a labeller reads on each: padding.png.

    Args:
        test: strips (n, T, D), negative where they are padding, and their labels.
    """
    batches = two_batches(test, size=8)
    readings = {
        name: ctc.trimmed(ctc.read_labels(network.predict_on_batch(batch.x)))
        for name, batch in batches.items()
    }
    plots.padding(batches, readings, run.folder / "padding.png")


def two_batches(strips: common.Examples, size: int) -> dict[str, common.Examples]:
    """Make a batch of the first strips, and one of those nearest in length to the first of all."""
    lengths = (strips.x >= 0).any(axis=2).sum(axis=1)
    near = np.abs(lengths - lengths[0]).argsort(kind="stable")
    return {
        name: common.Examples(strips.x[order, : lengths[order].max()], strips.y[order])
        for name, order in (("without buckets", slice(size)), ("with buckets", near[:size]))
    }


def _print_rates(lengths: np.ndarray, greedy: np.ndarray, beam: np.ndarray) -> dict[str, float]:
    """Print error rates with their 95% intervals; return them by their names in metrics.json.

    Args:
        lengths: number of true labels of each sequence, (n,).
        greedy, beam: edit distances of both decodings, (n,).
    """
    groups = [
        ("greedy", "test_{}", greedy, lengths > 0),
        ("beam", "test_beam_{}", beam, lengths > 0),
    ]
    if np.ptp(lengths):
        groups += [
            (f"{n} labels", f"test_{{}}_{n}", greedy, lengths == n) for n in np.unique(lengths)
        ]
    rows, metrics = [("", "label error rate", "sequence error rate", "wrong")], {}
    for name, key, distances, group in groups:
        errors = distances[group]
        wrong, size = np.count_nonzero(errors), len(errors)
        rates = ctc.error_rates(errors, lengths[group])
        metrics |= {key.format(rate): value for rate, value in rates.items()}
        intervals = (
            _spelt(chance.interval_of_rate(errors, lengths[group])),
            _spelt(chance.interval_of_share(wrong, size)),
        )
        cells = map("{:.2%} ({})".format, rates.values(), intervals)
        rows.append((name, *cells, f"{wrong:,} of {size:,}"))
    _print_rows(rows)
    print("in brackets: 95% intervals")
    return metrics


def _spelt(interval: tuple[float, float]) -> str:
    return "{:z.2f} to {:.2f}%".format(*(100 * end for end in interval))


def _show_answers(
    name: str,
    truth: Sequence[object],
    answers: Sequence[object],
    confidence: np.ndarray,
    folder: Path,
) -> None:
    """Print ten answers beside the truth, with their probability; write answers.csv, of all."""
    shown = zip(truth[:10], answers[:10], map("{:.2%}".format, confidence), strict=False)
    _print_rows([("truth", name, "probability"), *shown])
    columns = {
        "example": range(len(confidence)),
        "truth": truth,
        "answer": answers,
        "probability": map("{:.6f}".format, confidence),
    }
    run_folder.write_csv(columns, folder / "answers.csv")


def _print_rows(rows: Sequence[Sequence[object]]) -> None:
    """Print an empty line, and rows of a table."""
    print()
    widths = [max(len(str(cell)) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell!s:>{width}}" for cell, width in zip(row, widths, strict=True)))


def comparison(
    whole: Run,
    runs: dict[str, Run],
    metrics: dict[str, dict[str, float | None]],
    goals: Sequence[float],
) -> None:
    """Print a row of figures for each scaling of the input; write and draw those of all.

    Args:
        whole: the run whose parts are `runs`.
        runs: the trainings, by scaling.
        metrics: the figures of each test, by scaling.
        goals: validation accuracies, in the metrics `epochs_to_GOAL`.
    """
    histories = {scaling: run.history for scaling, run in runs.items()}
    plots.comparison(histories, whole.folder / "learning_curves.png")
    run_folder.write_json(metrics, whole.folder / "metrics.json")
    rows = [
        (
            scaling,
            f"{figures['input_mean']:z.4f}",
            f"{figures['input_variance']:,.2f}",
            *(figures[f"epochs_to_{goal}"] or "-" for goal in goals),
            f"{figures['test_accuracy']:.2%}",
            f"{figures['training_seconds']:.1f}",
        )
        for scaling, figures in metrics.items()
    ]
    goal_names = (f"to {goal:.1%}" for goal in goals)
    head = ("scaling", "input mean", "variance", *goal_names, "test accuracy", "seconds")
    _print_rows([head, *rows])
    print("to ...%: epochs until the validation accuracy reached it")
    show_in_notebook(whole.folder)
    beside_earlier_runs(whole.folder)


def finish(run: Run, metrics: dict[str, float]) -> dict[str, float]:
    """Write learning_curves.png and, last, metrics.json; say where they are; return the metrics."""
    plots.learning_curves(run.history, run.folder / "learning_curves.png")
    metrics = metrics | run.state
    run_folder.write_json(metrics, run.folder / "metrics.json")
    print(f"\ntrained in {run.seconds:.1f} s\nwrote {run.folder}")
    show_in_notebook(run.folder)
    if run.whole is run:
        beside_earlier_runs(run.folder)
    return metrics


def beside_earlier_runs(folder: Path) -> None:
    """Print a finished run below the newest others of its script that had the same test."""
    with contextlib.suppress(common.SettingError):  # the run is done, whatever became of its files
        newest = side_by_side.load(folder)
        same_test = side_by_side.finished(folder.parent, like=newest)
        others = (run for run in same_test if run.folder != folder)
        if others := list(itertools.islice(others, MOST_RUNS - 1)):
            _print_runs([*reversed(others), newest])


def compare(folders: Sequence[Path], parent: Path) -> None:
    """Print finished runs side by side, and draw their curves: comparison.png, in `parent`.

    Args:
        folders: those of the runs, among which files are ignored; if empty, those of all runs in
            `parent` that had the same test as the last one by name.
        parent: the folder of all runs of the script.

    Raises:
        SettingError: one is not a finished run, there are fewer than two, or their tests differ.
    """
    runs = [] if folders else [*side_by_side.finished(parent)]
    for folder in dict.fromkeys(folder.resolve() for folder in folders if not folder.is_file()):
        runs.append(side_by_side.load(folder, *runs[:1]))
    if len(runs) < 2:
        where = "after it" if folders else f"with the same test in {parent}"
        raise common.SettingError(f"--compare needs two finished runs {where}, not {len(runs)}")
    runs.sort(key=lambda run: run.folder.name)
    _print_runs(runs)
    picture = parent / "comparison.png"
    parent.mkdir(parents=True, exist_ok=True)
    plots.comparison(side_by_side.curves(runs[-MOST_CURVES:]), picture)
    print(f"\nwrote {picture}, the curves of {len(runs[-MOST_CURVES:])} of {len(runs)} runs")
    show_in_notebook(parent)


def _print_runs(runs: Sequence[side_by_side.FinishedRun]) -> None:
    rows = side_by_side.table(runs)
    print("\nfinished runs with the same test, the last marked *")
    _print_rows(rows)
    if left_out := [name for name in side_by_side.differing(runs) if name not in rows[0]]:
        print(textwrap.fill(f"differ as well: {', '.join(left_out)}", side_by_side.WIDTH))
    print("\n" + textwrap.fill(side_by_side.against_the_best(runs), side_by_side.WIDTH))


def show_in_notebook(folder: Path) -> None:
    """Show the pictures of a folder below the cell of the notebook, if that is where this runs."""
    IPython = sys.modules.get("IPython")
    if IPython and hasattr(IPython.get_ipython(), "kernel"):  # a terminal of IPython has none
        for picture in sorted(folder.glob("*.png")):
            print(picture.name)
            IPython.display.display(IPython.display.Image(filename=str(picture)))
