"""What is printed and written after a test."""

from pathlib import Path

import common

import keras
import numpy as np

from support import ctc, plots, run_folder, training

WORST = 24  # mistakes that misread.png shows


def classifier(network: keras.Model, test: common.Examples, folder: Path) -> dict[str, float]:
    """Test a classifier and print its figures with ten answers beside the truth.

    Writes to the run's folder: confusion_matrix.png and misread.png, the most confident mistakes.

    Args:
        network: gives logits (n, classes).

    Returns:
        Loss (mean cross-entropy, in nats), accuracy (0 to 1), count of right answers and of all.
    """
    logits = network.predict(training.in_batches(test), verbose=0)
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    answers, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    metrics = _classifier_figures(test.y, logits, answers)
    _print_classifier(metrics, test.y[:10], answers[:10], confidence[:10])
    plots.confusion_matrix(test.y, answers, folder / "confusion_matrix.png")
    worst = most_confident(answers != test.y, confidence)
    captions = [f"{test.y[i]} read as {answers[i]}\n{confidence[i]:.1%}" for i in worst]
    plots.images(test.x[worst], captions, folder / "misread.png")
    return metrics


def _classifier_figures(
    truth: np.ndarray, logits: np.ndarray, answers: np.ndarray
) -> dict[str, float]:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    right = int((answers == truth).sum())
    return {
        "test_loss": float(loss(truth, logits)),
        "test_accuracy": right / len(truth),
        "test_right": right,
        "test_size": len(truth),
    }


def _print_classifier(
    metrics: dict[str, float], truth: np.ndarray, answers: np.ndarray, confidence: np.ndarray
) -> None:
    print("\ntest loss {test_loss:.4f}".format(**metrics))
    print("test accuracy {test_accuracy:.2%} ({test_right:,} of {test_size:,})".format(**metrics))
    print("\ntruth  answer  probability")
    for true_digit, answer, probability in zip(truth, answers, confidence, strict=True):
        print(f"{true_digit:5}  {answer:6}  {probability:11.2%}")


def most_confident(wrong: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Return the indices of the mistakes (n,) that were made with most confidence (n,)."""
    (mistakes,) = np.nonzero(wrong)
    return mistakes[np.argsort(-confidence[mistakes], kind="stable")][:WORST]


def labeller(
    network: keras.Model, test: common.Examples, *, beam_width: int, folder: Path
) -> dict[str, float]:
    """Test a sequence labeller and print its figures with ten readings beside the truth.

    Writes to the run's folder: alignment.png, the probability of every class over the steps, and
    misread.png, the most confident mistakes.

    Args:
        network: gives logits (n, steps, classes), class 0 the blank.
        beam_width: candidates of the beam search.

    Returns:
        Loss (mean over the strips, in nats), label and sequence error rates (0 to 1) of greedy
        decoding and of beam search, count of strips; the rates of each length, if they differ.
    """
    logits = network.predict(training.in_batches(test), verbose=0)
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits[:3]))
    reading = ctc.read_labels(logits)
    confidence = ctc.confidences(reading, logits)
    metrics = _labeller_figures(test.y, logits, reading, beam_width)
    _print_labeller(metrics, test.y, beam_width)
    _print_readings(test.y[:10], reading[:10], confidence[:10])
    plots.alignment(test.x[:3], probabilities, folder / "alignment.png")
    worst = most_confident(ctc.edit_distances(test.y, reading) > 0, confidence)
    pairs = map(ctc.align, test.y[worst], reading[worst])
    plots.misread_strips(test.x[worst], pairs, confidence[worst], folder / "misread.png")
    return metrics


def _labeller_figures(
    truth: np.ndarray, logits: np.ndarray, reading: np.ndarray, beam_width: int
) -> dict[str, float]:
    def rates(name: str, truth: np.ndarray, reading: np.ndarray) -> dict[str, float]:
        return {name.format(rate): x for rate, x in ctc.error_rates(truth, reading).items()}

    losses = keras.ops.convert_to_numpy(keras.losses.ctc(truth, logits))
    metrics = {
        "test_loss": float(losses.mean()),
        **rates("test_{}", truth, reading),
        **rates("test_beam_{}", truth, ctc.read_labels(logits, beam_width)),
        "test_size": len(truth),
    }
    lengths = (truth != ctc.BLANK).sum(axis=1)
    if lengths.min() < lengths.max():
        for length in np.unique(lengths):
            chosen = lengths == length
            metrics |= rates(f"test_{{}}_{length}", truth[chosen], reading[chosen])
    return metrics


def _print_labeller(metrics: dict[str, float], truth: np.ndarray, beam_width: int) -> None:
    def rates(name: str) -> str:
        names = [name.format(f"{what}_error_rate") for what in ("label", "sequence")]
        return "label error rate {:.2%}, sequence error rate {:.2%}".format(
            *map(metrics.get, names)
        )

    size = len(truth)
    print(f"\ntest loss {metrics['test_loss']:.4f}")
    for what, name in (
        ("greedy decoding", "test_{}"),
        (f"beam search, width {beam_width}", "test_beam_{}"),
    ):
        wrong = round(metrics[name.format("sequence_error_rate")] * size)
        print(f"{what}: {rates(name)} ({wrong:,} of {size:,})")
    lengths, counts = np.unique((truth != ctc.BLANK).sum(axis=1), return_counts=True)
    if len(lengths) > 1:
        for length, count in zip(lengths, counts, strict=True):
            print(f"{length} labels: {rates(f'test_{{}}_{length}')} of {count:,}")


def _print_readings(truth: np.ndarray, reading: np.ndarray, confidence: np.ndarray) -> None:
    percentages = [f"{probability:.2%}" for probability in confidence]
    readings = zip(map(ctc.spell, truth), map(ctc.spell, reading), percentages, strict=True)
    rows = [("truth", "reading", "probability"), *readings]
    widths = [max(7, *map(len, column)) for column in zip(*rows, strict=True)]
    print()
    for row in rows:
        print("  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)))


def finish(
    folder: Path, *, history: dict[str, list[float]], metrics: dict[str, float], seconds: float
) -> dict[str, float]:
    """Write metrics.json and learning_curves.png, say where they are, return the metrics."""
    metrics = metrics | {run_folder.SECONDS: round(seconds, 1)}
    common.write_json(metrics, folder / "metrics.json")
    with common.written_beside(folder / run_folder.LAST_FILE) as path:
        plots.learning_curves(history, path)
    print(f"\ntrained in {seconds:.1f} s")
    print(f"wrote {folder}")
    return metrics
