"""--predict: pictures of all kinds come to the form of MNIST, and are read."""

import re
import struct
import sys

from common import DataError

import keras
import numpy as np
import pytest
from lessons import small
from PIL import Image

import classic
import seq_labelling
import standardize
import variable_length_seq
from support import command_line, ctc, digits, predict, strips
from tests.benchmarks.predict_pictures import picture_of


def classifier(T=28, D=28):
    return classic.classif_rnn_network(T, D, small("classic", bidirectional=True))


def labeller(T=140):
    config = small("seq_labelling", bidirectional=True, columns=4)
    return seq_labelling.rnn_seqlab_network(T, 28, config)


def any_length_labeller():
    config = small("variable_length_seq", bidirectional=True, columns=4)
    return variable_length_seq.rnn_seqlab_network(28, config)


@pytest.fixture(scope="module")
def mnist():
    _, test = digits.load_mnist()
    return test


@pytest.fixture(params=range(8))
def picture(request, mnist, tmp_path):
    """A test digit, and the path of a picture of it."""
    image = mnist.x[request.param]
    path = tmp_path / "digit.png"
    picture_of(image, np.random.default_rng(request.param)).save(path)
    return image, path


def test_a_picture_of_a_digit_comes_back_to_what_it_was(picture):
    image, path = picture
    seen = predict.to_digit(predict.find_ink(path))
    assert seen.shape == (28, 28)
    assert seen.dtype == np.uint8
    # Never mind a pixel's move: compare at half the size.
    one, other = (x.reshape(14, 2, 14, 2).mean(axis=(1, 3)).ravel() for x in (image, seen))
    assert np.corrcoef(one, other)[0, 1] > 0.8


@pytest.mark.parametrize(
    "change", ["invert", "grey paper", "shadow", "colour", "jpeg", "transparent", "16 bits"]
)
def test_paper_ink_and_format_make_no_difference(change, mnist, tmp_path):
    page = np.pad(mnist.x[0], 20).repeat(4, axis=0).repeat(4, axis=1).astype(float)
    dark_on_light = Image.fromarray((255 - page).astype(np.uint8))
    dark_on_light.save(tmp_path / "plain.png")
    path = tmp_path / ("changed.jpg" if change == "jpeg" else "changed.png")
    if change == "invert":
        changed = Image.fromarray(page.astype(np.uint8))
    elif change == "grey paper":
        changed = Image.fromarray((180 - page / 2).astype(np.uint8))
    elif change == "shadow":
        light = np.linspace(0.6, 1, page.shape[1])
        changed = Image.fromarray(((255 - page) * light).astype(np.uint8))
    elif change == "colour":
        blue = np.stack([255 - page, 255 - page, 255 - page / 2], axis=-1)
        changed = Image.fromarray(blue.astype(np.uint8))
    elif change == "transparent":
        ink = np.zeros((*page.shape, 4), np.uint8)
        ink[..., 3] = page
        changed = Image.fromarray(ink)
    elif change == "16 bits":
        changed = Image.fromarray((65535 - 256 * page).astype(np.uint16))
    else:
        changed = dark_on_light
    changed.save(path)
    plain, other = (
        predict.to_digit(predict.find_ink(file)).astype(float)
        for file in (tmp_path / "plain.png", path)
    )
    assert np.abs(plain - other).mean() < 8


def test_a_photo_is_turned_as_its_exif_says(tmp_path, mnist):
    page = Image.fromarray(255 - np.pad(mnist.x[0], 20).repeat(4, axis=0).repeat(4, axis=1))
    page.save(tmp_path / "plain.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees to the right to see it
    page.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    plain, turned = (
        predict.to_digit(predict.find_ink(tmp_path / name)) for name in ("plain.png", "turned.png")
    )
    np.testing.assert_array_equal(plain, turned)


def test_a_speck_is_no_ink(tmp_path, mnist):
    page = 255 - np.pad(mnist.x[0], 20).repeat(4, axis=0).repeat(4, axis=1)
    inks = []
    for speck in 255, 0:
        page[10, 10] = speck
        Image.fromarray(page).save(tmp_path / "page.png")
        inks.append(predict.find_ink(tmp_path / "page.png"))
    np.testing.assert_array_equal(*inks)


def test_a_picture_of_a_strip_comes_back_to_what_it_was(mnist, tmp_path):
    strip = strips.compose_strips(mnist, 5, 5, np.random.default_rng(0)).x[0].T
    picture_of(strip, np.random.default_rng(1)).save(tmp_path / "strip.png")
    seen = predict.to_strip(predict.find_ink(tmp_path / "strip.png"))
    seen = np.asarray(Image.fromarray(seen).resize((140, 28)), float)
    # Never mind a pixel's move: compare at half the size.
    one, other = (x.reshape(14, 2, 70, 2).mean(axis=(1, 3)).ravel() for x in (strip, seen))
    assert np.corrcoef(one, other)[0, 1] > 0.6


def test_a_classifier_gives_a_probability():
    pixels = keras.Input((28, 28))
    x = keras.layers.Flatten()(pixels)
    network = keras.Model(pixels, keras.layers.Dense(10, kernel_initializer="zeros")(x))
    network.layers[-1].bias.assign(np.log(np.arange(1.0, 11)))
    digit, probability, probabilities = predict.predict_digit(network, np.zeros((28, 28)))
    assert (digit, probability) == ("9", pytest.approx(10 / 55))
    np.testing.assert_allclose(probabilities, [np.arange(1, 11) / 55], rtol=1e-6)


@pytest.mark.parametrize("scaling", ["unit", "standardized"])
def test_a_classifier_of_one_direction_is_asked_after_every_row(scaling, mnist, tmp_path):
    settings = {"depth": 2, "dropout": 0.5}
    networks = [
        classic.classif_rnn_network(
            28,
            28,
            small("classic", **settings),
            scaling=standardize.scaling_layer(scaling, mnist.x[:99]),
            every_row=every_row,
        )
        for every_row in (False, True)
    ]
    networks[0].save(tmp_path / "model.keras")
    networks[1].load_weights(tmp_path / "model.keras")
    digit, probability, probabilities = predict.load_reader(tmp_path / "model.keras").predict(
        mnist.x[0]
    )
    expected = keras.ops.softmax(networks[1].predict_on_batch(mnist.x[:1]))
    np.testing.assert_allclose(probabilities, np.asarray(expected)[0], atol=1e-6)
    assert (digit, probability) == (str(probabilities[-1].argmax()), probabilities[-1].max())


def test_the_form_of_mnist(tmp_path):
    """A bar of 10 x 40 fills the box in its height, and stands in the middle."""
    page = np.full((100, 90), 255, np.uint8)
    page[50:90, 3:13] = 0
    Image.fromarray(page).save(tmp_path / "bar.png")
    image = predict.to_digit(predict.find_ink(tmp_path / "bar.png"))
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


def test_the_pictures_that_can_be_read_are_read(mnist, tmp_path, monkeypatch, capfd):
    classifier().save(tmp_path / "model.keras")
    picture_of(mnist.x[0], np.random.default_rng(0)).save(tmp_path / "good.png")
    pictures = [tmp_path / "missing.png", tmp_path / "good.png"]
    with pytest.raises(SystemExit, match="1"):
        run_predict(
            classic,
            ["--model", tmp_path / "model.keras", "--predict", *pictures],
            monkeypatch,
            capfd,
        )
    printed, errors = capfd.readouterr()
    assert re.fullmatch(r".*good\.png: \d \(\d+\.\d%\)\n", printed)
    assert "missing.png" in errors


def run_predict(module, arguments, monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", [f"{module.__name__}.py", *map(str, arguments)])
    command_line.run(module.main, module.Config, module.__doc__)
    return capfd.readouterr().out


def test_the_newest_run_reads_a_digit(picture, tmp_path, monkeypatch, capfd):
    _, path = picture
    network = classifier()
    for time, folder in enumerate(("old", "new")):
        (tmp_path / "classic" / folder).mkdir(parents=True)
        network.layers[-1].bias.assign(100.0 * np.eye(10)[time])
        network.save(tmp_path / "classic" / folder / "model.keras")
    arguments = ["--output", tmp_path, "--predict", path, path, "--seen", tmp_path / "seen.png"]
    printed = run_predict(classic, arguments, monkeypatch, capfd)
    seen = f"wrote {tmp_path / 'seen.png'}, which shows 2 of 2 pictures\n"
    assert printed == 2 * f"{path}: 1 (100.0%)\n" + seen
    assert (tmp_path / "seen.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("length", [2, 7])
@pytest.mark.parametrize("module", [seq_labelling, variable_length_seq])
def test_strips_of_any_width(module, length, mnist, tmp_path, monkeypatch, capfd):
    network = labeller() if module is seq_labelling else any_length_labeller()
    network.save(tmp_path / "model.keras")
    composed = strips.compose_strips(mnist, length, length, np.random.default_rng(0))
    picture_of(composed.x[0].T, np.random.default_rng(1)).save(tmp_path / "strip.png")
    arguments = ["--model", tmp_path / "model.keras", "--predict", tmp_path / "strip.png"]
    printed = run_predict(module, arguments, monkeypatch, capfd)
    assert re.fullmatch(r".*strip\.png: (nothing|\d( \d)*) \(\d+\.\d%\)\n", printed)
    seen = predict.to_strip(predict.find_ink(tmp_path / "strip.png"))
    assert seen.shape[0] == 28
    assert seen.shape[1] == pytest.approx(28 * length, rel=0.2)


def test_a_network_for_one_length_reads_alike_at_another(mnist, tmp_path):
    network = labeller()
    strip = strips.compose_strips(mnist, 5, 5, np.random.default_rng(0)).x[0]
    longer = labeller(168)
    longer.set_weights(network.get_weights())
    logits = network.predict_on_batch(strip[None])
    expected = ctc.confidences(np.asarray(ctc.read_labels(logits)), logits)[0]
    _, probability, probabilities = predict.predict_labels(predict.for_any_length(longer), strip.T)
    assert probabilities.shape == (35, 11)
    assert probability == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("shape", "name"), [((28, 28), "answers"), ((28, 28, 1), "logits")])
def test_a_network_of_others_is_refused(shape, name, tmp_path):
    network = keras.Sequential(
        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(10, name=name)]
    )
    network.save(tmp_path / "model.keras")
    with pytest.raises(DataError, match="is not a network of these scripts"):
        predict.load_reader(tmp_path / "model.keras")


def test_a_network_for_images_that_are_not_square_is_refused(tmp_path, monkeypatch, capfd):
    classifier(5, 3).save(tmp_path / "model.keras")
    with pytest.raises(SystemExit, match="1"):
        run_predict(
            classic, ["--model", tmp_path / "model.keras", "--predict", "x"], monkeypatch, capfd
        )
    assert "reads images of 5 x 3, but" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--predict", "x.png"], 2, "no trained network in runs/classic"),
        (["--predict", "x.png", "--model", "none.keras"], 1, "none.keras is no file"),
        (["--draw"], 2, "there is no trained network in runs/classic"),
        (["--draw", "--predict", "x.png"], 2, "--predict, --draw and --compare: one at a time"),
        (["--draw", "--seen", "seen.png"], 2, "--seen goes with --predict"),
        (["--model", "none.keras"], 2, "--model goes with --predict or --draw"),
        (["--seen", "seen.png"], 2, "--seen goes with --predict"),
        (["--predict"], 2, "--predict: name at least one picture"),
        (["--predict", "x.png", "--seen", "seen.pdf"], 2, "seen.pdf: the name must end in .png"),
        (["--predict", "x.png", "--seen", "seen"], 2, "--seen seen: the name must end in .png"),
    ],
)
def test_what_prediction_needs(arguments, code, message, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["classic.py", *arguments])
    with pytest.raises(SystemExit, match=str(code)):
        command_line.run(classic.main, classic.Config, classic.__doc__)
    errors = capfd.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
