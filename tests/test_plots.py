"""support/plots.py: the pictures."""

from common import Examples

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from support import plots


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved, in their order."""
    figures, savefig = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda *a, **b: figures.append(a[0]) or savefig(*a, **b))
    return figures


def test_pictures_of_no_mistakes_and_of_many(tmp_path):
    """A dollar in the name of a file begins no formula."""
    truth = np.arange(10)
    plots.confusion_matrix(truth, truth, tmp_path / "right.png")
    plots.images(np.zeros((0, 28, 28), np.uint8), [], tmp_path / "none.png")
    plots.images(np.zeros((24, 28, 28), np.uint8), ["a$^$.png: 3"] * 24, tmp_path / "many.png")
    plots.misread_strips(np.zeros((0, 56, 28)), [], np.zeros(0), tmp_path / "none_strips.png")
    assert len(list(tmp_path.iterdir())) == 4


def test_a_confusion_matrix_counts_a_truth_in_its_row(tmp_path, drawn):
    plots.confusion_matrix(np.array([3, 3, 3, 7]), np.array([3, 5, 5, 7]), tmp_path / "m.png")
    (axes, *_) = drawn[0].axes
    counts = {text.get_position(): text.get_text() for text in axes.texts if text.get_text()}
    assert counts == {(3, 3): "1", (5, 3): "2", (7, 7): "1"}  # (column, row)
    assert axes.get_title() == "2 of 4 wrong"


def test_what_was_misread_stands_out_above_its_place(tmp_path, drawn):
    """Two digits of 28 columns and as much padding: the second was read as a 7, and an 8 added."""
    strip = np.full((1, 112, 28), -1)
    strip[:, :56] = 0
    pairs = [(2, 2), (3, 8), (0, 9)]  # labels are digit + 1
    plots.misread_strips(strip, [pairs], np.array([0.875]), tmp_path / "misread.png")
    texts = drawn[0].axes[0].texts
    truth, reading = ["truth", "1", "2", "-"], ["read (87.5%)", "1", "7", "8"]
    assert [text.get_text() for text in texts] == truth + reading
    assert [text.get_color() for text in texts] == ["black", "black", "red", "red"] * 2
    assert [text.xyann[1] for text in texts] == [15] * 4 + [3] * 4  # points above the strip
    places = [text.xy[0] for text in texts]
    assert places[1:4] == places[5:8] == sorted(places[1:4])
    assert 0 < places[1] < places[3] < 56


def test_each_class_has_its_curve_over_the_place_of_its_step(tmp_path, drawn):
    probabilities = np.random.default_rng(0).dirichlet(np.ones(11), (1, 7))
    plots.alignment(np.zeros((1, 28, 28)), probabilities, tmp_path / "alignment.png")
    curves = {line.get_label(): line.get_xydata() for line in drawn[0].axes[1].lines}
    assert list(curves) == ["blank", *"0123456789"]
    for label, points in enumerate(curves.values()):
        np.testing.assert_allclose(points[:, 0], np.arange(1.5, 28, 4))
        np.testing.assert_allclose(points[:, 1], probabilities[0, :, label])


def test_each_panel_has_the_curves_of_a_figure(tmp_path, drawn):
    raw, unit = {"loss": [3.0, 2.0], "val_loss": [3.5, 2.5]}, {"loss": [4.0], "val_loss": [5.0]}
    plots.learning_curves(raw | {"val_label_error_rate": [0.5, 0.25]}, tmp_path / "alone.png")
    plots.comparison({"a$^$": raw, "unit": unit}, tmp_path / "compared.png")
    alone, compared = (
        {
            axes.get_ylabel(): {line.get_label(): line.get_ydata().tolist() for line in axes.lines}
            for axes in figure.axes
        }
        for figure in drawn
    )
    assert alone == {
        "loss": {"training": [3.0, 2.0], "validation": [3.5, 2.5]},
        "label error rate": {"training": [], "validation": [0.5, 0.25]},
    }
    assert compared == {
        "training loss": {"a$^$": [3.0, 2.0], "unit": [4.0]},
        "validation loss": {"a$^$": [3.5, 2.5], "unit": [5.0]},
    }


def test_beside_each_row_stands_what_the_network_thinks_after_it(drawn, tmp_path):
    random = np.random.default_rng(0)
    images, probabilities = random.random((5, 28, 28)), random.dirichlet(np.ones(10), (5, 28))
    settled, captions = np.arange(20, 25), [f"digit {i}" for i in range(5)]
    path = tmp_path / "reading.png"
    plots.reading(images, probabilities, settled=settled, captions=captions, path=path)
    axes = drawn[0].axes
    assert len(axes) == 16  # two rows of four digits
    for i in range(5):
        left, right = axes[2 * i : 2 * i + 2]
        np.testing.assert_array_equal(left.images[0].get_array(), images[i])
        np.testing.assert_array_equal(right.images[0].get_array(), probabilities[i])
        assert left.get_title() == captions[i]
        assert right.get_title() == f"settled after {settled[i]} rows"
        assert left.get_ylim() == right.get_ylim()  # so that each row is beside its own
        for part in left, right:
            assert list(part.lines[0].get_ydata()) == [settled[i] - 1.5] * 2  # above that row
    assert not any(part.images or part.get_frame_on() for part in axes[10:])


def test_padding_is_blue_and_a_wrong_reading_red(drawn, tmp_path):
    strips = np.zeros((2, 56, 28), np.int16)
    strips[1, 28:] = -1
    labels = np.array([[1, 2], [3, 0]])
    batches = {"one": Examples(strips, labels), "other": Examples(strips[:, :28], labels)}
    readings = {"one": np.array([[1, 2], [4, -1]]), "other": np.array([[-1], [3]])}
    plots.padding(batches, readings, tmp_path / "padding.png")
    (figure,) = drawn
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["one\n25% padding (blue)", "other\n0% padding (blue)"]
    below = [(axes.get_xlabel(), axes.xaxis.label.get_color()) for axes in figure.axes]
    assert below == [("0 1", "black"), ("nothing", "red"), ("3", "red"), ("2", "black")]
    padded = figure.axes[2].images[0]
    colours = padded.cmap(padded.norm(padded.get_array()))
    assert (colours[:, 28:] == matplotlib.colors.to_rgba("C0")).all()
    assert (colours[:, :28] == 1).all()  # the background is white
