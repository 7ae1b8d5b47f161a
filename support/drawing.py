"""The window of `--draw`: a page to write on, and what a network reads there."""

import contextlib
import functools
import gc
import sys
import time
from datetime import datetime
from pathlib import Path

import common

import matplotlib
import numpy as np
from matplotlib.backend_bases import Event, KeyEvent, MouseButton, MouseEvent
from matplotlib.figure import Figure
from matplotlib.widgets import Button
from PIL import Image, ImageOps

from support import plots, predict, report

# In inches: the window's size; the right end of the answer; left, bottom, width and height of the
# page, of what the network sees, of what it says, and of three buttons.
DIGIT = (
    *[(11.4, 5.5), (9.4, 4.4)],
    *[(0.3, 0.7, 4.4, 4.4), (5.2, 0.95, 2.8, 2.8), (8.3, 0.95, 2.8, 2.8)],
    *[(left, 0.15, 1.4, 0.42) for left in (0.3, 1.8, 3.3)],
)
LINE = (
    *[(11.4, 6.8), (11.1, 3.55)],
    *[(0.3, 4.15, 10.8, 2.2), (0.8, 1.9, 9.5, 1.2), (0.8, 0.55, 9.5, 1.25)],
    *[(left, 3.45, 1.4, 0.42) for left in (0.3, 1.8, 3.3)],
)
PEN = 1 / 13  # its width, as a share of the page's height
QUICK = 0.08  # seconds; an answer that takes no longer does not disturb writing


class Pad:
    """A page in a figure to write on, and beside it what a network reads.

    Attributes:
        picture: the page, as it was last read.
    """

    def __init__(self, figure: Figure, reader: predict.Reader, folder: Path) -> None:
        """Lay out the figure.

        Args:
            figure: an empty one.
            reader: the network that reads.
            folder: where pictures are saved, as FOLDER/ANSWER/TIME.png.
        """
        self.figure, self.reader, self.folder = figure, reader, folder
        # A digit is read while it is written, if that is quick; a line after every stroke.
        self.stroke, self.rests_until = None, np.inf if reader.columns else 0.0
        size, answer, *boxes = LINE if reader.columns else DIGIT
        figure.set_size_inches(size)
        self.page, self.seen, self.says, *places = (
            # In a window of another shape, nothing is stretched.
            figure.add_axes(np.divide(box, size * 2).tolist(), box_aspect=box[3] / box[2])
            for box in boxes
        )
        self.page.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(0, 1))
        # Lines between the cells, one cell for each digit; they are too light to be taken for ink.
        self.page.vlines(np.linspace(0, 1, 6 if reader.columns else 2), 0, 1, color="0.92")
        self.seen.set(xticks=[], yticks=[], title="what the network sees")
        self.answer = figure.text(*np.divide(answer, size), "", ha="right")
        self.actions = {
            "c": functools.partial(self.take_back, 0),
            "u": functools.partial(self.take_back, -1),
            "s": self.save,
        }
        self.buttons = [
            Button(place, name)
            for place, name in zip(places, ("clear (c)", "undo (u)", "save (s)"), strict=True)
        ]
        for button, action in zip(self.buttons, self.actions.values(), strict=True):
            button.on_clicked(action)
        for event in "button_press", "motion_notify", "button_release", "key_press":
            figure.canvas.mpl_connect(f"{event}_event", getattr(self, event))
        for width in 20, 40:  # a network is compiled for one width, then for all
            reader.read(np.ones((20, width)))
        gc.freeze()  # collecting garbage from all the libraries would take longer than an answer
        self.read()

    def button_press(self, event: MouseEvent) -> None:
        """Put the pen on the page."""
        if event.inaxes is self.page and event.button == MouseButton.LEFT:
            (self.stroke,) = self.page.plot(
                [event.xdata, event.xdata + 1e-4],  # a line of one point would not be drawn
                [event.ydata, event.ydata],
                color="black",
                linewidth=PEN * self.page.bbox.height / self.figure.dpi * 72,  # points
                solid_capstyle="round",
                snap=False,
            )

    def motion_notify(self, event: MouseEvent) -> None:
        """Move the pen; if that is quick, read what is there so far."""
        if self.stroke and event.inaxes is self.page:
            self.stroke.set_data(
                np.append(self.stroke.get_data(), [[event.xdata], [event.ydata]], axis=1)
            )
            self.figure.draw_artist(self.stroke)
            self.figure.canvas.blit(self.page.bbox)
            if (begin := time.perf_counter()) > self.rests_until:
                self.read()
                seconds = time.perf_counter() - begin
                self.rests_until = begin + seconds * (6 if seconds < QUICK else 60)

    def button_release(self, _: MouseEvent) -> None:
        """Lift the pen, and read."""
        if self.stroke:
            self.stroke = None
            self.read()

    def key_press(self, event: KeyEvent) -> None:
        """Do what the button that names this key does."""
        if event.key in self.actions:
            self.actions[event.key](event)

    def take_back(self, first: int, _: Event) -> None:
        """Take back the strokes from index `first` on, and read."""
        for stroke in self.page.lines[first:]:
            stroke.remove()
        self.read()

    def save(self, _: Event) -> None:
        """Save the page in the folder of the answer, where `predict.collect_digits` finds it."""
        if answer := self.read():
            path = self.folder.joinpath(
                answer.replace(" ", ""), f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}.png"
            )
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self.picture.save(path)
                said = f"wrote {path}"
            except OSError as error:
                said = f"{path}: {error.strerror or error}"
            self.page.set_title(said, loc="left", parse_math=False)
            print(said, flush=True)
            self.figure.canvas.draw()

    def read(self) -> str:
        """Show what the network reads on the page; return it, or "" if nothing is written there."""
        for axes in self.seen, self.says:
            axes.set_visible(len(self.page.lines) > 0)
            for artist in *axes.images, *axes.lines, *axes.patches:  # axes.clear() takes longer
                artist.remove()
        self.figure.draw_artist(self.page)
        pixels = self.figure.canvas.copy_from_bbox(self.page.bbox.padded(-2))  # without its frame
        self.picture = ImageOps.contain(Image.fromarray(np.asarray(pixels)), (720, 280))
        answer = shown = ""
        with contextlib.suppress(common.DataError):  # an empty page
            image, answer, probability, probabilities = self.reader.read(
                predict.ink_in(self.picture, "the page")
            )
            shown = f"{answer} ({probability:.1%})"
            if columns := self.reader.columns:
                plots.draw_strip(self.seen, self.says, image.T, probabilities, columns=columns)
            else:
                (row,) = report.timesteps_until_settled(probabilities.argmax(axis=1)[None])
                plots.draw_reading(self.seen, self.says, image, probabilities, settled=row, size=12)
        self.answer.set(text=shown, fontsize=min(32, 880 / max(1, len(shown))))
        self.page.set_title(
            "write digits here, one in each cell" if self.reader.columns else "write a digit here",
            loc="left",
        )
        self.figure.canvas.draw()
        return answer


def open_pad(*, model: Path | None, runs: Path, folder: Path) -> None:
    """Open a window to write in, and show what a network reads; return when it is closed.

    Args:
        model: file of the network; None: the newest one in `runs`.
        runs: folder of the runs of a script.
        folder: where pictures are saved, see `Pad`.

    Raises:
        SettingError: there is no trained network, or no window can be opened.
        DataError: the network cannot be read.
    """
    from matplotlib import pyplot  # only here, because it chooses at once how to open windows

    reader = predict.Reader(model or predict.newest_model(runs))
    figure = None
    with contextlib.suppress(ImportError), matplotlib.rc_context({"toolbar": "None"}):
        figure = pyplot.figure("write, and the network answers")
    if figure is None or not figure.canvas.required_interactive_framework:
        raise common.SettingError(
            "--draw: matplotlib can open no window here; start it in a terminal of a machine with "
            "a screen, not in a notebook; if a toolkit is missing, install python3-tk (Debian, "
            "Ubuntu), python3-tkinter (Fedora) or, with pip, PyQt6"
        )
    # The window's own keys, such as s to save it, would get in the way.
    figure.canvas.mpl_disconnect(figure.canvas.manager.key_press_handler_id)
    try:
        figure.pad = Pad(figure, reader, folder)  # matplotlib's events alone do not keep it alive
        pyplot.show(block=True)
    except KeyboardInterrupt:
        print("\nclosed the window", file=sys.stderr)
