"""support/report.py: the figures of a test, and what is printed of them."""

import json
import re

from common import Examples, SettingError

import keras
import numpy as np
import pytest

from support import chance, ctc, plots, report, run_folder
from support.run_folder import Run
from variable_length_seq import pad

FILES = {"config.json", "history.csv", "metrics.json", "answers.csv", "learning_curves.png"}


def trained(folder, **settings):
    """A run of two epochs, in the folder of a run."""
    run = Run(folder / f"run_{len(list(folder.glob('run_*')))}")
    run.folder.mkdir()
    run.epochs, run.seconds = [{"loss": 2.0}, {"loss": 1.0}], 1.23
    (run.folder / "history.csv").write_text("epoch,loss\n0,2.0\n1,1.0\n")
    run_folder.write_json({"data_sha256": "0"} | settings, run.folder / "config.json")
    return run


def test_a_classifier_is_scored_as_by_hand(tmp_path, capsys, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "images", lambda *what: drawn.extend(what))
    random = np.random.default_rng(0)
    logits, truth = random.normal(0, 2, (40, 10)), random.integers(0, 10, 40)
    answers, right = logits.argmax(axis=1), int((logits.argmax(axis=1) == truth).sum())
    confidence = np.exp(logits.max(axis=1)) / np.exp(logits).sum(axis=1)
    # Each image (1, 40) has one dot, which says which row of the weights is the answer.
    layers = keras.layers.Flatten(), keras.layers.Dense(10, use_bias=False)
    network = keras.Sequential([keras.Input((1, 40)), *layers])
    network.set_weights([logits])
    run, test = trained(tmp_path), Examples(np.eye(40)[:, None], truth)
    run.stopped = True
    metrics = report.classifier(network, test, {"loss": 1.25, "accuracy": 0.5}, run)
    assert metrics == {
        "test_loss": 1.25,
        "test_accuracy": 0.5,
        "test_right": right,
        "test_size": 40,
        "training_seconds": 1.2,
        "stopped": True,
    }
    assert metrics == json.loads((run.folder / "metrics.json").read_text())
    printed = capsys.readouterr().out
    low, high = chance.interval_of_share(right, 40)
    assert f"({right} of 40), 95% interval {100 * low:.2f} to {high:.2%}\n" in printed
    rows = np.array(re.findall(r"^ +(\d) +(\d) +([\d.]+)%$", printed, re.MULTILINE), float)
    expected = np.stack([truth, answers, 100 * confidence], axis=1)
    np.testing.assert_allclose(rows, expected[:10], atol=0.006)
    assert printed.endswith(f"\ntrained in 1.2 s\nwrote {run.folder}\n")
    header, *written = np.loadtxt(run.folder / "answers.csv", str, delimiter=",")
    assert header.tolist() == ["example", "truth", "answer", "probability"]
    expected = np.stack([np.arange(40), truth, answers, confidence], axis=1)
    np.testing.assert_allclose(np.array(written, float), expected, atol=1e-6)
    worst = [i for i in np.argsort(-confidence) if answers[i] != truth[i]][: report.WORST]
    assert len(worst) == report.WORST
    images, captions, path = drawn
    np.testing.assert_array_equal(images, test.x[worst])
    said = [caption.split("\n")[0] for caption in captions]
    assert said == [f"{truth[i]} read as {answers[i]}" for i in worst]
    assert path == run.folder / "misread.png"
    assert {path.name for path in run.folder.iterdir()} == FILES | {"confusion_matrix.png"}


def test_an_answer_is_settled_after_the_last_other_one():
    answers = np.array([[7, 7, 7, 7], [1, 7, 7, 7], [7, 7, 1, 7], [1, 1, 1, 7], [7, 1, 7, 7]])
    assert report.timesteps_until_settled(answers).tolist() == [1, 2, 4, 4, 3]


def test_the_reading_is_that_of_digits_read_right_and_of_the_least_sure(
    tmp_path, capsys, monkeypatch
):
    """Ten digits, of which the odd ones are read wrong and the later ones with less confidence."""
    truth = np.arange(10)
    answers = truth + truth % 2
    confident = np.eye(11)[answers] * np.linspace(9, 5, 10)[:, None]
    logits = np.stack([np.eye(11)[answers - 1], confident, confident], axis=1)
    drawn = {}
    monkeypatch.setattr(plots, "reading", lambda images, *_, **what: drawn.update(what, x=images))
    images = np.tile(truth[:, None, None], (3, 3))
    metrics = report.reading(Examples(images, truth), logits, Run(tmp_path))
    assert metrics == {"test_rows_until_settled": 2.0}
    assert "\nafter 2.0 of 3 rows, on average, the answer no" in capsys.readouterr().out
    assert drawn["x"][:, 0, 0].tolist() == [0, 2, 4, 9, 8, 7, 6]
    assert drawn["settled"].tolist() == [2] * 7
    assert [drawn["captions"][i].split("\n")[0] for i in (1, 3)] == ["2 read as 2", "9 read as 10"]


def test_a_single_digit_can_be_drawn_too(tmp_path):
    test = Examples(np.zeros((1, 28, 28), np.uint8), np.arange(1))
    report.reading(test, np.ones((1, 28, 10)), Run(tmp_path))
    assert (tmp_path / "reading.png").read_bytes().startswith(b"\x89PNG")


def test_a_labeller_is_scored_as_a_whole_and_by_length(tmp_path, capsys, monkeypatch):
    """Logits that say a reading with near certainty, of which two of four are wrong."""
    misread = []
    monkeypatch.setattr(plots, "misread_strips", lambda strips, pairs, *_: misread.extend(pairs))
    readings = [[1, 2, 0, 0], [1, 0, 2, 0], [3, 0, 4, 5], [3, 3, 0, 4]]
    truth = np.array([[1, 2, 0], [2, 2, 0], [3, 4, 5], [3, 4, 5]])
    logits = (20 * np.eye(11)[readings]).astype(np.float32)
    run = trained(tmp_path)
    metrics = report.labeller(
        Examples(np.zeros((4, 28, 28)), truth),
        logits,
        {"loss": 1.5, "label_error_rate": 0.2, "sequence_error_rate": 0.5},
        run,
        greedy=ctc.read_labels(logits),
        beam=np.array([[1, 2, -1], [1, 2, -1], [3, 4, 5], [3, 4, 5]]),
    )
    expected = {
        "test_loss": 1.5,
        "test_label_error_rate": 0.2,
        "test_sequence_error_rate": 0.5,
        "test_size": 4,
        "test_beam_label_error_rate": 1 / 10,
        "test_beam_sequence_error_rate": 1 / 4,
        "test_label_error_rate_2": 1 / 4,
        "test_sequence_error_rate_2": 1 / 2,
        "test_label_error_rate_3": 1 / 6,
        "test_sequence_error_rate_3": 1 / 2,
        "training_seconds": 1.2,
    }
    assert list(metrics) == list(expected)
    assert metrics == pytest.approx(expected)
    printed = capsys.readouterr().out
    for name, label_errors, sequence_errors, wrong in (
        ("greedy", "20.00%", "50.00%", "2 of 4"),
        ("beam", "10.00%", "25.00%", "1 of 4"),
        ("3 labels", "16.67%", "50.00%", "1 of 2"),
    ):
        rates = rf"{label_errors} \(.* to .*%\) +{sequence_errors} \(.* to .*%\)"
        assert re.search(rf"^ *{name} +{rates} +{wrong}$", printed, re.MULTILINE)
    low, high = chance.interval_of_rate(np.array([0, 1, 0, 1]), np.array([2, 2, 3, 3]))
    assert f"20.00% ({100 * low:.2f} to {high:.2%})" in printed
    assert re.search(r"^ +1 1 +0 1 +100.00%$", printed, re.MULTILINE)
    _, *written = np.loadtxt(run.folder / "answers.csv", str, delimiter=",")
    assert [answer for *_, answer, _ in written] == ["0 1", "0 1", "2 3 4", "2 3"]
    shown = [[tuple(filter(None, row)) for row in zip(*pairs, strict=True)] for pairs in misread]
    assert sorted(shown) == [[(2, 2), (1, 2)], [(3, 4, 5), (3, 4)]]  # truth, reading
    assert {path.name for path in run.folder.iterdir()} == FILES | {"alignment.png"}


def finished(folder, right=(), **settings):
    """A run that is finished, with 20 test examples, of which some are read right."""
    run = trained(folder, **settings)
    answers = [f"{i},7,{7 if i in right else 1},0.5\n" for i in range(20)]
    rows = "example,truth,answer,probability\n" + "".join(answers)
    (run.folder / "answers.csv").write_text(rows)
    return run, report.finish(run, {"test_accuracy": len(right) / 20})


def test_a_run_is_shown_below_the_last_seven_others_with_the_same_test(tmp_path, capsys):
    for n in range(9):
        finished(tmp_path, range(n), units=n)
    finished(tmp_path, range(3), data_sha256="another")
    damaged, _ = finished(tmp_path)
    (damaged.folder / "answers.csv").unlink()
    (tmp_path / "run_of_today").mkdir()  # it has not ended
    capsys.readouterr()
    run, _ = finished(tmp_path, range(10, 20), units=10)
    _, *lines = capsys.readouterr().out.split(f"wrote {run.folder}\n")[1].splitlines()
    shown = [line.split() for line in lines[2:11]]
    assert shown[0] == ["run", "units", "accuracy", "seconds"]
    assert [row[1] for row in shown[1:]] == ["2", "3", "4", "5", "6", "7", "8", "10"]
    assert [row[0] for row in shown[-2:]] == ["run_8", "*run_12"]
    assert "The last against run_8, the best other" in lines[12]


def test_runs_are_compared_by_name_or_all(tmp_path, capsys):
    one, _, other = (finished(tmp_path, range(n), units=n)[0].folder for n in (3, 5, 9))
    for named, parent, compared in (
        ([], tmp_path, ["run_0", "run_1", "run_2"]),
        ([other, one], tmp_path / "elsewhere", ["run_0", "run_2"]),
    ):
        capsys.readouterr()
        report.compare(named, parent)
        printed, n = capsys.readouterr().out, len(compared)
        assert re.findall(r"^[ *]*(run_\d)", printed, re.MULTILINE) == compared
        assert printed.endswith(f"comparison.png, the curves of {n} of {n} runs\n")
        assert (parent / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_an_earlier_run_with_part_of_its_answers_is_passed_over(tmp_path, capsys):
    """It is one of lesson 4, of two scalings; the run that has just ended has the first of them."""
    for name, parts in (("all", ["raw", "unit"]), ("raw alone", ["raw"])):
        for part in parts:
            (tmp_path / name).mkdir(exist_ok=True)
            run, metrics = finished(tmp_path / name)
            run.folder.rename(tmp_path / name / part)
            run_folder.write_json({"data_sha256": "0"}, tmp_path / name / "config.json")
        run_folder.write_json(dict.fromkeys(parts, metrics), tmp_path / name / "metrics.json")
    capsys.readouterr()
    report.beside_earlier_runs(tmp_path / "raw alone")
    assert "The last against all, the best other on raw pixels" in capsys.readouterr().out
    answers = tmp_path / "all" / "raw" / "answers.csv"
    answers.write_text("".join(answers.read_text().splitlines(keepends=True)[:9]))
    report.beside_earlier_runs(tmp_path / "raw alone")
    assert capsys.readouterr().out == ""


def test_what_cannot_be_compared_is_refused(tmp_path):
    one, other = (finished(tmp_path, data_sha256=n)[0].folder for n in "01")
    for folders, message in (
        ([], "needs two finished runs with the same test in .*, not 1$"),
        ([one, one.parent / "x" / ".." / one.name], "needs two finished runs after it, not 1$"),
        ([one, other], "were tested on the same examples"),
    ):
        with pytest.raises(SettingError, match=message):
            report.compare(folders, tmp_path)


def test_two_batches_have_the_first_strip_and_much_or_little_padding():
    lengths = [84, 56, 84, 140, 80, 112, 84, 84]
    strips = [np.full((length, 28), number) for number, length in enumerate(lengths)]
    padded = Examples(pad(strips), np.arange(8))
    batches = report.two_batches(padded, size=4)
    assert batches["without buckets"].y.tolist() == [0, 1, 2, 3]
    assert batches["with buckets"].y.tolist() == [0, 2, 6, 7]
    for batch in batches.values():
        np.testing.assert_array_equal(batch.x, pad([strips[number] for number in batch.y]))
