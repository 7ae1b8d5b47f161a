"""Connectionist Temporal Classification (CTC): which labels fit, decoding, confidence, error rates.

Labels are 1 and more, padded with 0 after the last one: Keras takes 0 for the blank.
"""

import itertools
from difflib import SequenceMatcher

import common

import keras
import numpy as np

BLANK = 0


def steps_needed(labels: np.ndarray) -> np.ndarray:
    """Count the steps that a network needs at least to say labels (n, length): (n,).

    Equal labels in a row need a blank between them: n labels with r such repeats take n + r steps.
    """
    repeats = (labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] != BLANK)
    return (labels != BLANK).sum(axis=1) + repeats.sum(axis=1)


def check_labels_fit(labels: np.ndarray, steps: np.ndarray, where: str) -> None:
    """Raise DataError if a sequence has too few steps for its labels, which CTC cannot align.

    Args:
        labels: digit + 1, padded with 0, (n, length).
        steps: of the network's output for each sequence, (n,).
        where: the sequences come from, for the message.
    """
    needed = steps_needed(labels)
    if (needed > steps).any():
        index = int((needed > steps).argmax())
        count = (labels[index] != BLANK).sum()
        raise common.DataError(
            f"{where} sequence {index}: {count} labels, {needed[index] - count} of them repeated, "
            f"take {needed[index]} steps, but there are {steps[index]}; a smaller --columns makes "
            f"more"
        )


def read_labels(logits: np.ndarray, beam_width: int | None = None) -> np.ndarray:
    """Decode logits (n, steps, classes) to labels, padded with 0, (n, longest).

    Args:
        beam_width: None takes the best class at every step (best path); a number searches for
            the most probable labelling with so many candidates (beam search).

    Source: A. Graves et al., Connectionist Temporal Classification (2006), sections 3.2; beam
    search: A. Graves and N. Jaitly, Towards End-to-End Speech Recognition (2014).
    """
    steps = np.full(len(logits), logits.shape[1], np.int32)
    strategy = "greedy" if beam_width is None else "beam_search"
    paths, _ = keras.ops.ctc_decode(
        logits, steps, strategy=strategy, beam_width=beam_width or 1, mask_index=BLANK
    )
    labels = np.maximum(keras.ops.convert_to_numpy(paths)[0], BLANK)  # -1 after the last label
    return labels[:, : (labels != BLANK).sum(axis=1).max(initial=0)]


def confidences(reading: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return the probability of each reading: the sum over all alignments that say it, (n,)."""
    # A column of padding, where nothing was read at all.
    surprise = keras.losses.ctc(np.pad(reading, ((0, 0), (0, 1))), logits)
    return np.exp(-keras.ops.convert_to_numpy(surprise))


def edit_distances(truth: np.ndarray, reading: np.ndarray) -> np.ndarray:
    """Count the insertions, deletions and substitutions that turn each reading into the truth.

    Args:
        truth, reading: labels, padded with 0 at the end, (n, length) of any two lengths.

    Returns:
        The Levenshtein distance of each pair, (n,).

    Source: R. A. Wagner and M. J. Fischer, The String-to-String Correction Problem (1974).
    """
    places = np.arange(reading.shape[1] + 1)
    # distances[i][:, j] is that of the first i labels of the truth and the first j of the reading.
    distances = [np.tile(places, (len(truth), 1))]
    for label in truth.T:
        above = distances[-1]
        change = np.minimum(above[:, :-1] + (reading != label[:, None]), above[:, 1:] + 1)
        row = np.concatenate([above[:, :1] + 1, change], axis=1)
        # k insertions after another place cost k: the best place is a running minimum.
        distances.append(np.minimum.accumulate(row - places, axis=1) + places)
    truth_lengths, reading_lengths = ((part != BLANK).sum(axis=1) for part in (truth, reading))
    return np.stack(distances)[truth_lengths, np.arange(len(truth)), reading_lengths]


def align(truth: np.ndarray, reading: np.ndarray) -> list[tuple[int, int]]:
    """Set the labels of one reading beside those of the truth, equal ones beside each other.

    Args:
        truth, reading: labels, padded with 0 at the end, (length,) of any two lengths.

    Returns:
        Pairs (label of the truth, label of the reading), 0 where one of the two has none.
    """
    a, b = truth[truth != BLANK], reading[reading != BLANK]
    return [
        pair
        for _, i, i_end, j, j_end in SequenceMatcher(a=a, b=b, autojunk=False).get_opcodes()
        for pair in itertools.zip_longest(a[i:i_end], b[j:j_end], fillvalue=BLANK)
    ]


def error_rates(truth: np.ndarray, reading: np.ndarray) -> dict[str, float]:
    """Compare readings with the truth, both padded with 0, (n, length).

    Returns:
        label_error_rate: edit distances over the number of true labels.
        sequence_error_rate: share of the sequences with any error.
    """
    distances = edit_distances(truth, reading)
    return {
        "label_error_rate": float(distances.sum() / (truth != BLANK).sum()),
        "sequence_error_rate": float((distances > 0).mean()),
    }


def spell(labels: np.ndarray) -> str:
    """Write labels as digits, with a space between them."""
    return " ".join(str(label - 1) for label in labels if label != BLANK)
