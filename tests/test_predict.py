"""--predict: pictures of all kinds come to the form of MNIST, and are read."""

import re
import struct

from common import DataError

import keras
import numpy as np
import pytest
from lessons import network, small
from PIL import Image
from script_runs import ROOT, run_in_process

import classic
import standardize
from support import ctc, digits, predict, strips
from tests.benchmarks.predict_pictures import picture_of


@pytest.fixture(scope="module")
def mnist():
    _, test = digits.load_mnist()
    return test


def page_of(image):
    """A digit on paper, dark on light, four times as large."""
    return 255 - np.pad(image, 20).repeat(4, axis=0).repeat(4, axis=1)


def seen_in(picture, path, **options):
    """What a network sees of a picture that was saved, as numbers that can be subtracted."""
    picture.save(path, **options)
    return predict.to_digit(predict.find_ink(path)).astype(float)


def alike(one, other):
    """How alike two images are at half the size: never mind a pixel's move."""
    halves = (x.reshape(14, 2, -1, 2).mean(axis=(1, 3)).ravel() for x in (one, other))
    return np.corrcoef(*halves)[0, 1]


@pytest.mark.parametrize("number", range(8))
def test_a_picture_of_a_digit_comes_back_to_what_it_was(number, mnist, tmp_path):
    picture = picture_of(mnist.x[number], np.random.default_rng(number))
    seen = seen_in(picture, tmp_path / "digit.png")
    assert seen.shape == (28, 28)
    assert alike(mnist.x[number], seen) > 0.8


CHANGES = {
    "inverted": lambda page: 255 - page,
    "on grey paper": lambda page: 90 + page / 2,
    "in a shadow": lambda page: page * np.linspace(0.6, 1, page.shape[1]),
    "in colour": lambda page: np.stack([page, page, (255 + page) / 2], axis=-1),
    "jpeg": lambda page: page,
    "transparent": lambda page: np.stack([*np.zeros((3, *page.shape)), 255 - page], axis=-1),
    "with a speck": lambda page: np.where(
        np.arange(page.size).reshape(page.shape) == 3000, 0, page
    ),
    "16 bits": lambda page: 256.0 * page + 255,
}


@pytest.mark.parametrize("change", CHANGES)
def test_paper_ink_and_format_make_no_difference(change, mnist, tmp_path):
    page = page_of(mnist.x[0])
    plain = seen_in(Image.fromarray(page), tmp_path / "plain.png")
    kind = np.uint16 if change == "16 bits" else np.uint8
    changed = Image.fromarray(CHANGES[change](page).astype(kind))
    other = seen_in(changed, tmp_path / ("changed.jpg" if change == "jpeg" else "changed.png"))
    assert np.abs(plain - other).mean() < 8


def test_a_photo_is_turned_as_its_exif_says(mnist, tmp_path):
    page = Image.fromarray(page_of(mnist.x[0]))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees to the right to see it
    turned = page.transpose(Image.Transpose.ROTATE_90)
    np.testing.assert_array_equal(
        seen_in(page, tmp_path / "plain.png"), seen_in(turned, tmp_path / "turned.png", exif=exif)
    )


@pytest.mark.parametrize("scaling", ["unit", "standardized"])
def test_a_classifier_of_one_direction_is_asked_after_every_row(scaling, mnist, tmp_path):
    config, path = small("classic", depth=2, dropout=0.5), tmp_path / "model.keras"
    layers = [standardize.scaling_layer(scaling, mnist.x[:99]) for _ in range(2)]
    last_row, every_row = (
        classic.classif_rnn_network(28, 28, config, scaling=layer, every_row=every_row)
        for layer, every_row in zip(layers, (False, True), strict=True)
    )
    last_row.save(path)
    every_row.load_weights(path)
    _, digit, probability, probabilities = predict.Reader(path).read_digit(mnist.x[0])
    expected = keras.ops.softmax(every_row.predict_on_batch(mnist.x[:1]))
    np.testing.assert_allclose(probabilities, np.asarray(expected)[0], atol=1e-6)
    assert (digit, probability) == (str(probabilities[-1].argmax()), probabilities[-1].max())


def test_the_form_of_mnist(tmp_path):
    """A bar of 10 x 40 fills the box in its height, and stands in the middle."""
    page = np.full((100, 90), 255, np.uint8)
    page[50:90, 3:13] = 0
    image = seen_in(Image.fromarray(page), tmp_path / "bar.png")
    rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
    assert rows.tolist() == list(range(4, 24))
    assert len(columns) == 5
    assert columns.mean() == pytest.approx(13.5, abs=0.5)


@pytest.mark.parametrize("size", [(1, 1), (28, 28), (300, 200)])
@pytest.mark.parametrize("grey", [0, 255])
def test_an_empty_page_is_refused(size, grey, tmp_path):
    Image.new("L", size, grey).save(tmp_path / "empty.png")
    with pytest.raises(DataError, match=r"empty\.png: an empty page"):
        predict.find_ink(tmp_path / "empty.png")


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "text.png").write_text("7")
    with pytest.raises(DataError, match=r"text\.png: not a picture"):
        predict.find_ink(tmp_path / "text.png")
    with pytest.raises(DataError, match=r"missing\.png: No such file"):
        predict.find_ink(tmp_path / "missing.png")
    # The maker of the camera is a number where a text belongs.
    entries = struct.pack(">HHI4sHHI4s", 0x112, 3, 1, b"\0\6\0\0", 0x10F, 11, 1, b"\0\0\0\1")
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\2" + entries + bytes(4)
    Image.new("L", (9, 9)).save(tmp_path / "photo.jpg", exif=exif)
    with pytest.raises(DataError, match=r"photo\.jpg: not a picture"):
        predict.find_ink(tmp_path / "photo.jpg")


def test_the_newest_run_reads_the_pictures_that_can_be_read(mnist, tmp_path, monkeypatch, capfd):
    path = tmp_path / "digit.png"
    picture_of(mnist.x[0], np.random.default_rng(0)).save(path)
    classifier = network("classic", bidirectional=True)
    for time, folder in enumerate(("old", "new")):
        (tmp_path / "classic" / folder).mkdir(parents=True)
        classifier.layers[-1].bias.assign(100.0 * np.eye(10)[time])
        classifier.save(tmp_path / "classic" / folder / "model.keras")
    arguments = ["--output", tmp_path, "--seen", tmp_path / "seen.png", "--predict", path, path]
    assert run_in_process(ROOT / "classic.py", arguments, monkeypatch) == 0
    seen = f"wrote {tmp_path / 'seen.png'}, which shows 2 of 2 pictures\n"
    assert capfd.readouterr().out == 2 * f"{path}: 1 (100.0%)\n" + seen
    assert (tmp_path / "seen.png").read_bytes().startswith(b"\x89PNG")
    arguments = ["--output", tmp_path, "--predict", tmp_path / "missing.png", path]
    assert run_in_process(ROOT / "classic.py", arguments, monkeypatch) == 1
    printed, errors = capfd.readouterr()
    assert printed == f"{path}: 1 (100.0%)\n"
    assert "missing.png" in errors


@pytest.mark.parametrize("length", [2, 7])
@pytest.mark.parametrize("lesson", ["seq_labelling", "variable_length_seq"])
def test_strips_of_any_width(lesson, length, mnist, tmp_path, monkeypatch, capfd):
    model, path = tmp_path / "model.keras", tmp_path / "strip.png"
    network(lesson, 140, bidirectional=True, columns=4).save(model)
    strip = strips.compose_strips(mnist, length, length, np.random.default_rng(0)).x[0].T
    picture_of(strip, np.random.default_rng(1)).save(path)
    arguments = ["--model", model, "--predict", path]
    assert run_in_process(ROOT / f"{lesson}.py", arguments, monkeypatch) == 0
    printed = capfd.readouterr().out
    assert re.fullmatch(r".*strip\.png: (nothing|\d( \d)*) \(\d+\.\d%\)\n", printed)
    seen = predict.to_strip(predict.find_ink(path), 28, 1.1)
    assert seen.shape == (28, pytest.approx(28 * length, rel=0.2))
    seen = np.asarray(Image.fromarray(seen).resize((28 * length, 28)), float)
    assert alike(strip, seen) > 0.6


def test_a_line_is_read_from_every_column_of_a_step_and_the_surest_answer_counts(mnist, tmp_path):
    """By a network of another length, too: it reads as one of this length does."""
    settings = {"bidirectional": True, "columns": 4}
    labeller, longer = (network("seq_labelling", T, **settings) for T in (140, 168))
    longer.set_weights(labeller.get_weights())
    longer.save(tmp_path / "model.keras")
    reader = predict.Reader(tmp_path / "model.keras")
    surest = set()
    for strip in strips.compose_strips(mnist, 5, 5, np.random.default_rng(0)).x[:20]:
        strip = strip[:137]  # with 3 columns before or after it, 140
        shifted = [np.pad(strip, ((before, 3 - before), (0, 0))) for before in range(4)]
        logits = labeller.predict_on_batch(np.stack(shifted))
        readings = np.asarray(ctc.read_labels(logits))
        expected = ctc.confidences(readings, logits)
        first = int(expected.argmax())
        surest.add(first)
        image, answer, probability, probabilities = reader.read_line(strip.T)
        np.testing.assert_array_equal(image, shifted[first].T)
        assert answer == (ctc.spell(readings[first]) or "nothing")
        assert probability == pytest.approx(expected[first], rel=1e-4)
        softmax = keras.ops.convert_to_numpy(keras.ops.softmax(logits[first]))
        np.testing.assert_allclose(probabilities, softmax, atol=1e-5)
    assert len(surest) > 1


def test_a_line_is_read_at_three_heights_and_the_surest_answer_counts(mnist, tmp_path):
    labeller = network("variable_length_seq", bidirectional=True, columns=7)
    logits = labeller.get_layer("logits")
    logits.kernel.assign(100 * logits.kernel)  # an unsure network takes the fewest steps
    labeller.save(tmp_path / "model.keras")
    reader = predict.Reader(tmp_path / "model.keras")
    surest = set()
    for strip in strips.compose_strips(mnist, 3, 3, np.random.default_rng(0)).x[:20]:
        rows = np.flatnonzero(strip.any(axis=0))
        ink = strip.T[rows[0] : rows[-1] + 1] / 255
        seen = [predict.to_strip(ink, 28, height) for height in (1, 1.1, 1.2)]
        assert [np.count_nonzero(image.any(axis=1)) for image in seen] == [20, 22, 24]
        answers = [reader.read_line(image) for image in seen]
        first = int(np.argmax([answer[2] for answer in answers]))
        surest.add(first)
        image, *answer, probabilities = reader.read(ink)
        assert answer == [*answers[first][1:3]]
        np.testing.assert_array_equal(image, answers[first][0])
        np.testing.assert_array_equal(probabilities, answers[first][3])
    assert len(surest) > 1


@pytest.mark.parametrize(
    ("shape", "name", "message"),
    [
        ((28, 28), "answers", "is not a network of these scripts"),
        ((28, 28, 1), "logits", "is not a network of these scripts"),
        ((5, 3), "logits", "reads images of 5 x 3, but"),
    ],
)
def test_a_network_of_others_is_refused(shape, name, message, tmp_path):
    others = keras.Sequential(
        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(10, name=name)]
    )
    others.save(tmp_path / "model.keras")
    with pytest.raises(DataError, match=message):
        predict.Reader(tmp_path / "model.keras")
