"""--draw: what is written on the pad is read, shown, taken back and saved."""

import sys

from common import SettingError

import matplotlib
import numpy as np
import pytest
from lessons import network
from matplotlib.backend_bases import KeyEvent, MouseEvent
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from script_runs import ROOT, run

from support import drawing, predict

SEVEN = [(0.2, 0.8), (0.8, 0.8), (0.4, 0.2)]
BAR = [(0.45, 0.5), (0.75, 0.5)]


KINDS = {
    "one direction": ("classic", {"units": 16}),
    "two directions": ("classic", {"units": 16, "bidirectional": True}),
    "line": ("variable_length_seq", {"columns": 4}),
}
of_a_digit = pytest.mark.parametrize("opened", ["one direction"], indirect=True)


def mouse(pad, event, axes, point):
    """Send an event of the left button, at a point (x, y) of axes, in shares of their size."""
    place = axes.transAxes.transform(point)
    MouseEvent(f"{event}_event", pad.figure.canvas, *place, button=1)._process()


def write(pad, points):
    mouse(pad, "button_press", pad.page, points[0])
    for point in points:
        mouse(pad, "motion_notify", pad.page, point)
    mouse(pad, "button_release", pad.page, points[-1])


def save_network(kind, folder):
    lesson, settings = KINDS[kind]
    network(lesson, **settings).save(folder / "model.keras")
    return folder / "model.keras"


@pytest.fixture(scope="module", params=KINDS)
def opened(request, tmp_path_factory):
    """A pad without a window for a kind of network, which is compiled once."""
    folder = tmp_path_factory.mktemp("network")
    reader = predict.Reader(save_network(request.param, folder))
    return drawing.Pad(FigureCanvasAgg(Figure()).figure, reader, folder)


@pytest.fixture
def pad(opened, tmp_path):
    opened.folder = tmp_path / "drawn"
    opened.take_back(0, None)
    return opened


def press(pad, key):
    KeyEvent("key_press_event", pad.figure.canvas, key)._process()


def test_what_is_shown_is_what_the_network_reads_in_the_picture_that_is_saved(
    pad, tmp_path, capsys
):
    write(pad, SEVEN)
    press(pad, "s")
    (path,) = tmp_path.glob("drawn/*/*.png")
    assert capsys.readouterr().out == f"wrote {path}\n"
    image, answer, probability, probabilities = pad.reader.read(predict.find_ink(path))
    assert path.parent.name == answer.replace(" ", "")
    assert pad.answer.get_text() == f"{answer} ({probability:.1%})"
    np.testing.assert_array_equal(pad.seen.images[0].get_array(), image)
    if pad.reader.columns:
        curves = np.transpose([line.get_ydata() for line in pad.says.lines])
        np.testing.assert_array_equal(curves, probabilities)
    elif pad.says.images:
        assert len(probabilities) == 28
        np.testing.assert_array_equal(pad.says.images[0].get_array(), probabilities)
    else:
        bars = [[bar.get_height() for bar in pad.says.patches]]
        np.testing.assert_array_equal(bars, probabilities)


def test_a_stroke_is_taken_back_by_key_and_by_button_and_an_empty_page_shows_nothing(
    pad, tmp_path, capsys
):
    def shown():
        return pad.answer.get_text(), pad.seen.get_visible(), np.asarray(pad.picture).tolist()

    empty = shown()
    assert empty[:2] == ("", False)
    write(pad, SEVEN)
    one = shown()
    write(pad, BAR)
    assert shown() != one
    press(pad, "u")
    assert shown() == one
    press(pad, "c")
    press(pad, "u")  # there is nothing left
    press(pad, "s")
    assert shown() == empty
    assert not (tmp_path / "drawn").exists()
    write(pad, SEVEN)
    write(pad, BAR)
    for button, expected in ((1, one), (2, one), (0, empty)):
        mouse(pad, "button_press", pad.buttons[button].ax, (0.5, 0.5))
        mouse(pad, "button_release", pad.buttons[button].ax, (0.5, 0.5))
        assert shown() == expected
    assert len(list(tmp_path.glob("drawn/*/*.png"))) == 1
    assert capsys.readouterr().out.startswith("wrote ")


@of_a_digit
def test_it_reads_along_where_that_is_quick_and_writes_on_the_page_alone(pad):
    pad.rests_until = np.inf
    mouse(pad, "button_press", pad.page, SEVEN[0])
    mouse(pad, "motion_notify", pad.page, SEVEN[1])
    assert pad.answer.get_text() == ""
    pad.rests_until = 0
    mouse(pad, "motion_notify", pad.page, SEVEN[2])
    along = pad.answer.get_text()
    assert along
    assert pad.rests_until > 0
    mouse(pad, "motion_notify", pad.seen, (0.5, 0.5))
    mouse(pad, "button_release", pad.seen, (0.5, 0.5))
    assert pad.answer.get_text() == along
    write(pad, [(1.2, 0.5), (0.5, 0.5)])  # begins beside the page
    assert len(pad.page.lines) == 1


@of_a_digit
def test_a_click_is_a_dot_and_a_black_page_is_empty(pad):
    write(pad, [(0.5, 0.5)])
    assert pad.answer.get_text()
    pad.page.lines[0].set(linewidth=2000)
    assert pad.read() == ""


@of_a_digit
def test_a_page_that_cannot_be_saved_is_one_line(pad, tmp_path, capsys):
    (tmp_path / "drawn").touch()
    pad.folder /= "$x_$"  # no formula
    write(pad, SEVEN)
    press(pad, "s")
    printed = capsys.readouterr().out
    assert printed.startswith(str(tmp_path / "drawn"))
    assert printed.count("\n") == 1
    assert pad.page.get_title("left") == printed.strip()


def test_where_no_window_can_be_opened_one_line_says_what_to_install(tmp_path):
    model = save_network("one direction", tmp_path)
    with matplotlib.rc_context({"backend": "agg"}), pytest.raises(SettingError, match="python3-tk"):
        drawing.open_pad(model=model, runs=tmp_path, folder=tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a screen")
def test_without_a_screen_the_exit_code_is_2(tmp_path, monkeypatch):
    model = save_network("one direction", tmp_path)
    for screen in "DISPLAY", "WAYLAND_DISPLAY":
        monkeypatch.delenv(screen, raising=False)
    ran = run(tmp_path, ROOT / "classic.py", "--draw", "--model", model, MPLBACKEND="TkAgg")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("--draw: matplotlib can open no window here")
    assert ran.stderr.count("\n") == 1
