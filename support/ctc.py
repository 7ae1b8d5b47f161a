"""Connectionist Temporal Classification (CTC): which labels fit, decoding, error rates, confidence.

Labels are 1 or more. The places after the last one hold 0, which Keras takes for the blank, or -1.
"""

import itertools
from difflib import SequenceMatcher

import common

import keras
import numpy as np
from keras import ops

BLANK = 0


def steps_needed(labels: np.ndarray) -> np.ndarray:
    """Return the fewest steps, (n,), in which a network can say each row of labels (n, length).

    Equal neighbours need a blank between them: k labels with r such repeats take k + r steps.
    """
    repeats = (labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] > BLANK)
    return (labels > BLANK).sum(axis=1) + repeats.sum(axis=1)


def check_labels_fit(labels: np.ndarray, steps: np.ndarray, where: str, advice: str) -> None:
    """Raise DataError if a sequence has too few steps for its labels, which CTC cannot align.

    Args:
        labels: digit + 1, padded with 0, (n, length).
        steps: number of steps of the network's output for each sequence, (n,).
        where: the origin of the sequences, for the message.
        advice: what to do, for the message.
    """
    needed = steps_needed(labels)
    if (needed > steps).any():
        index = int((needed > steps).argmax())
        count = (labels[index] > BLANK).sum()
        raise common.DataError(
            f"{where} sequence {index}: {count} labels, {needed[index] - count} of them repeated, "
            f"take {needed[index]} steps, but there are {steps[index]}; {advice}"
        )


def read_labels(logits: np.ndarray, *, beam_width: int | None = None) -> np.ndarray:
    """Read the labels of logits (n, steps, classes): by the best path, or by beam search.

    The best path takes the best class at every step, merges repeats, then drops blanks: that is
    greedy decoding. Beam search keeps the most probable labellings while it reads, and adds up all
    the paths that say each of them.

    Args:
        beam_width: number of labellings that beam search keeps; None: the best path.

    Returns:
        Labels, padded with -1, a tensor (n, steps) of int32.

    Source: A. Graves et al., Connectionist Temporal Classification (2006), section 3.2.
    """
    steps = ops.full_like(logits[:, 0, 0], ops.shape(logits)[1], dtype="int32")
    search = "beam_search" if beam_width else "greedy"
    labels, _ = ops.ctc_decode(
        logits, steps, strategy=search, beam_width=beam_width, mask_index=BLANK
    )
    return labels[0]


def edit_distances(truth: np.ndarray, reading: np.ndarray) -> np.ndarray:
    """Count the insertions, deletions and substitutions that turn each reading into the truth.

    Args:
        truth, reading: labels, (n, length) of any two lengths.

    Returns:
        The Levenshtein distance of each pair, a tensor (n,) of int32.

    Source: R. A. Wagner and M. J. Fischer, The String-to-String Correction Problem (1974).
    """
    truth, reading = ops.cast(truth, "int32"), ops.cast(reading, "int32")
    places = ops.arange(ops.shape(reading)[1] + 1, dtype="int32")
    # k insertions cost k. Going back costs more than any reading has labels, so it never happens.
    insertions = ops.where(places[:, None] < places, 2**16, places[:, None] - places)
    # rows[i][:, j] is the distance of the first i labels of the truth and the first j of a reading.
    rows = [places + ops.zeros_like(truth[:, :1])]
    for i in range(truth.shape[1]):
        change = rows[i][:, :-1] + ops.cast(reading != truth[:, i : i + 1], "int32")
        change = ops.minimum(change, rows[i][:, 1:] + 1)
        row = ops.concatenate([rows[i][:, :1] + 1, change], axis=1)
        rows.append(ops.min(row[:, None, :] + insertions, axis=2))
    at_truth = ops.one_hot(ops.sum(truth > BLANK, axis=1), len(rows), dtype="int32")
    at_reading = ops.cast(places == ops.sum(reading > BLANK, axis=1, keepdims=True), "int32")
    return ops.sum(
        ops.stack(rows, axis=1) * at_truth[:, :, None] * at_reading[:, None], axis=(1, 2)
    )


@keras.saving.register_keras_serializable()
class LabelErrorRate(keras.metrics.Mean):
    """The sum of the edit distances of the best paths, divided by the number of true labels."""

    def __init__(self, name: str = "label_error_rate", **settings: object) -> None:
        super().__init__(name=name, **settings)

    def update_state(self, y_true, y_pred, sample_weight=None) -> None:
        counts = ops.sum(ops.cast(y_true, "int32") > BLANK, axis=1)
        distances = edit_distances(y_true, read_labels(y_pred))
        super().update_state(distances / counts, sample_weight=counts)


@keras.saving.register_keras_serializable()
class SequenceErrorRate(keras.metrics.Mean):
    """Share of the sequences whose best path says anything but the true labels."""

    def __init__(self, name: str = "sequence_error_rate", **settings: object) -> None:
        super().__init__(name=name, **settings)

    def update_state(self, y_true, y_pred, sample_weight=None) -> None:
        super().update_state(edit_distances(y_true, read_labels(y_pred)) > 0)


def trimmed(labels: np.ndarray) -> np.ndarray:
    """Return labels (n, length) as an array that is only as long as the longest of the n rows."""
    labels = ops.convert_to_numpy(labels)
    return labels[:, : (labels > BLANK).sum(axis=1).max(initial=0)]


def error_rates(distances: np.ndarray, lengths: np.ndarray) -> dict[str, float]:
    """Compare readings with the truth.

    Args:
        distances: edit distances of the readings, (n,), see `edit_distances`.
        lengths: number of true labels of each sequence, (n,).

    Returns:
        label_error_rate: the sum of the edit distances, divided by the number of true labels.
        sequence_error_rate: share of the sequences with an error.
    """
    return {
        "label_error_rate": float(distances.sum() / lengths.sum()),
        "sequence_error_rate": float((distances > 0).mean()),
    }


def confidences(reading: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return the probability of each reading, (n,): the sum over all alignments that say it.

    Args:
        reading: labels, (n, length).
        logits: (n, steps, classes), class 0 the blank.

    Source: A. Graves et al., Connectionist Temporal Classification (2006), section 4.1.
    """
    labels = np.maximum(trimmed(reading), BLANK)
    counts, examples = (labels > BLANK).sum(axis=1), np.arange(len(labels))
    # Blanks may stand before, between and after the labels.
    states = np.insert(labels, np.arange(labels.shape[1] + 1), BLANK, axis=1)
    # A label may follow a different one without a blank; the first needs no blank before it.
    skips = (states > BLANK) & (states != np.pad(states, ((0, 0), (2, 0)))[:, :-2])
    # Keras's loss computes the same sum, but takes 50 times as long outside a compiled step.
    forward = np.zeros((len(labels), states.shape[1] + 2))
    forward[:, 1] = 1  # before the first step, every path is in front of the first blank
    for step in ops.convert_to_numpy(ops.softmax(logits)).swapaxes(0, 1).astype(float):
        arriving = forward[:, 2:] + forward[:, 1:-1] + skips * forward[:, :-2]
        forward[:, 2:] = arriving * np.take_along_axis(step, states, axis=1)
        forward[:, :2] = 0
    return forward[examples, 2 * counts + 1] + forward[examples, 2 * counts + 2]


def align(truth: np.ndarray, reading: np.ndarray) -> list[tuple[int, int]]:
    """Pair the labels of one reading with those of the truth, equal ones with each other.

    Args:
        truth, reading: labels, (length,) of any two lengths.

    Returns:
        Pairs (label of the truth, label of the reading), 0 where one of the two has none.
    """
    a, b = truth[truth > BLANK], reading[reading > BLANK]
    return [
        pair
        for _, i, i_end, j, j_end in SequenceMatcher(a=a, b=b, autojunk=False).get_opcodes()
        for pair in itertools.zip_longest(a[i:i_end], b[j:j_end], fillvalue=BLANK)
    ]


def spell(labels: np.ndarray) -> str:
    """Write labels as digits, with spaces between them."""
    return " ".join(str(label - 1) for label in labels if label > BLANK)
