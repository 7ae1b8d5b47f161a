"""support/report.py: the figures of a test, and what is printed of them."""

import json
import re

from common import Examples

import keras
import numpy as np
import pytest

from support import ctc, plots, report
from support.run_folder import Run
from variable_length_seq import pad


class Answers(keras.Layer):
    """Gives fixed logits, each example's by the number in its first pixel."""

    def __init__(self, logits):
        super().__init__()
        self.logits = np.asarray(logits, np.float32)

    def call(self, pixels):
        first = pixels[:, 0, 0]
        return keras.ops.take(self.logits, keras.ops.cast(first, "int32"), axis=0)


def network_that_answers(logits):
    pixels = keras.Input((None, 28), dtype="int16")
    return keras.Model(pixels, Answers(logits)(pixels))


def numbered(n, T):
    x = np.zeros((n, T, 28), np.int16)
    x[:, 0, 0] = np.arange(n)
    return x


def trained(folder):
    """A run of two epochs."""
    run = Run(folder)
    run.epochs, run.seconds = [{"loss": 2.0}, {"loss": 1.0}], 1.23
    return run


def test_a_classifier_is_scored_as_by_hand(tmp_path, capsys):
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (40, 10))
    truth = random.integers(0, 10, 40)
    test = Examples(numbered(40, 28), truth)
    figures = {"loss": 1.25, "accuracy": 0.5}
    metrics = report.classifier(network_that_answers(logits), test, figures, trained(tmp_path))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    right = int((logits.argmax(axis=1) == truth).sum())
    assert 0 < right < 40
    assert metrics == {
        "test_loss": 1.25,
        "test_accuracy": 0.5,
        "test_right": right,
        "test_size": 40,
        "training_seconds": 1.2,
    }
    assert metrics == json.loads((tmp_path / "metrics.json").read_text())
    printed = capsys.readouterr().out
    assert f"({right} of 40)" in printed
    rows = re.findall(r"^ +(\d) +(\d) +([\d.]+)%$", printed, re.MULTILINE)
    assert [int(row[0]) for row in rows] == truth[:10].tolist()
    assert [int(row[1]) for row in rows] == logits[:10].argmax(axis=1).tolist()
    assert [float(row[2]) for row in rows] == pytest.approx(
        100 * probabilities[:10].max(axis=1), abs=0.006
    )
    pictures = {"confusion_matrix.png", "misread.png", "learning_curves.png"}
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", *pictures}


def test_an_answer_is_settled_after_the_last_other_one():
    answers = np.array([[7, 7, 7, 7], [1, 7, 7, 7], [7, 7, 1, 7], [1, 1, 1, 7], [7, 1, 7, 7]])
    assert report.timesteps_until_settled(answers).tolist() == [1, 2, 4, 4, 3]


def test_the_reading_is_that_of_digits_read_right_and_of_the_least_sure(
    tmp_path, capsys, monkeypatch
):
    """Ten digits, of which the odd ones are read wrong and the later ones with less confidence."""
    truth = np.arange(10)
    answers = truth + truth % 2
    confidence = np.linspace(9, 5, 10)  # a logit
    logits = np.eye(11)[answers][:, None] * confidence[:, None, None]
    logits = np.concatenate([np.eye(11)[answers - 1][:, None], logits, logits], axis=1)
    drawn = {}
    monkeypatch.setattr(plots, "reading", lambda images, *_, **what: drawn.update(what, x=images))
    metrics = report.reading(Examples(numbered(10, 3), truth), logits, Run(tmp_path))
    assert metrics == {"test_rows_until_settled": 2.0}
    assert "\nafter 2.0 of 3 rows, on average, the answer no" in capsys.readouterr().out
    assert drawn["x"][:, 0, 0].tolist() == [0, 2, 4, 9, 8, 7, 6]
    assert drawn["settled"].tolist() == [2] * 7
    assert drawn["captions"][1].startswith("2 read as 2\n")
    assert drawn["captions"][3].startswith("9 read as 10\n")


@pytest.mark.parametrize("n", [1, 3])
def test_few_digits_can_be_drawn_too(n, tmp_path):
    logits = np.random.default_rng(0).normal(size=(n, 28, 10))
    report.reading(Examples(np.zeros((n, 28, 28), np.uint8), np.arange(n)), logits, Run(tmp_path))
    assert (tmp_path / "reading.png").read_bytes().startswith(b"\x89PNG")


def test_what_a_classifier_misread_are_its_mistakes(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(plots, "images", lambda images, captions, path: shown.extend(captions))
    network = network_that_answers(3 * np.eye(10)[[1, 2, 3]])
    test = Examples(numbered(3, 28), np.array([1, 2, 4]))
    report.classifier(network, test, {"loss": 1.0, "accuracy": 0.5}, trained(tmp_path))
    assert [caption.split("\n")[0] for caption in shown] == ["4 read as 3"]


def test_mistakes_come_in_the_order_of_confidence():
    wrong = np.array([True, False, True, True])
    assert report.most_confident(wrong, np.array([0.5, 0.9, 0.8, 0.5])).tolist() == [2, 0, 3]
    assert len(report.most_confident(np.ones(100, bool), np.ones(100))) == report.WORST


def test_a_labeller_is_scored_as_a_whole_and_by_length(tmp_path, capsys, monkeypatch):
    """Logits that say a reading with near certainty, of which two of four are wrong."""
    misread, misread_strips = [], plots.misread_strips

    def remembered(strips, pairs, *rest):
        misread.extend(pairs)
        misread_strips(strips, misread, *rest)

    monkeypatch.setattr(plots, "misread_strips", remembered)
    readings = [[1, 2, 0, 0], [1, 0, 2, 0], [3, 0, 4, 5], [3, 3, 0, 4]]
    truth = np.array([[1, 2, 0], [2, 2, 0], [3, 4, 5], [3, 4, 5]])
    logits = (20 * np.eye(11)[readings]).astype(np.float32)
    metrics = report.labeller(
        Examples(numbered(4, 28), truth),
        logits,
        {"loss": 1.5, "label_error_rate": 0.125, "sequence_error_rate": 0.25},
        trained(tmp_path),
        greedy=ctc.read_labels(logits),
        beam=np.array([[1, 2, -1], [1, 2, -1], [3, 4, 5], [3, 4, 5]]),
    )
    expected = {
        "test_loss": 1.5,
        "test_label_error_rate": 0.125,
        "test_sequence_error_rate": 0.25,
        "test_beam_label_error_rate": 1 / 10,
        "test_beam_sequence_error_rate": 1 / 4,
        "test_size": 4,
        "test_label_error_rate_2": 1 / 4,
        "test_sequence_error_rate_2": 1 / 2,
        "test_label_error_rate_3": 1 / 6,
        "test_sequence_error_rate_3": 1 / 2,
        "training_seconds": 1.2,
    }
    assert list(metrics) == list(expected)
    assert metrics == pytest.approx(expected)
    printed = capsys.readouterr().out
    assert "greedy decoding: label error rate 12.50%, sequence error rate 25.00%" in printed
    assert "beam search: label error rate 10.00%, sequence error rate 25.00% (1 of 4)" in printed
    assert "3 labels: label error rate 16.67%, sequence error rate 50.00% of 2" in printed
    assert re.search(r"^ +1 1 +0 1 +100.00%$", printed, re.MULTILINE)
    truths = {tuple(label for label, _ in pairs if label) for pairs in misread}
    assert truths == {(2, 2), (3, 4, 5)}
    assert [any(said == 5 for _, said in pairs) for pairs in misread] == [False, False]
    pictures = {"alignment.png", "misread.png", "learning_curves.png"}
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", *pictures}


def test_the_last_file_of_a_run_holds_its_figures(tmp_path, capsys):
    run = trained(tmp_path)
    metrics = report.finish(run, {"test_loss": 0.5})
    assert metrics == {"test_loss": 0.5, "training_seconds": 1.2}
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert (tmp_path / "learning_curves.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob("unfinished*"))
    assert capsys.readouterr().out == f"\ntrained in 1.2 s\nwrote {tmp_path}\n"


def test_a_run_that_stopped_early_says_so(tmp_path, capsys):
    run = Run(tmp_path)
    run.epochs, run.stopped = [{"loss": 2.0}], True
    assert report.finish(run, {})["stopped"] is True


def test_two_batches_have_the_first_strip_and_much_or_little_padding():
    lengths = [84, 56, 84, 140, 80, 112, 84, 84]
    strips = [np.full((length, 28), number) for number, length in enumerate(lengths)]
    padded = Examples(pad(strips), np.arange(8))
    batches = report.two_batches(padded, size=4)
    assert batches["without buckets"].y.tolist() == [0, 1, 2, 3]
    assert batches["with buckets"].y.tolist() == [0, 2, 6, 7]
    for batch in batches.values():
        np.testing.assert_array_equal(batch.x, pad([strips[number] for number in batch.y]))
