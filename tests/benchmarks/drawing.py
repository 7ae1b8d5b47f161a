"""Time from the end of a stroke to the new picture, on the pads of `--draw`, in turns.

    python tests/benchmarks/drawing.py runs/classic/TIME/model.keras runs/.../TIME/model.keras

Events of a mouse are sent to a canvas without a window. Prints the median and the longest time of
40 strokes for each network; four strokes fill a page, then it is cleared.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import common  # noqa: F401

import numpy as np
from matplotlib.backend_bases import MouseEvent
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from support import drawing, predict


def new_pad(model: Path, folder: Path) -> drawing.Pad:
    """Return a pad for a network, on a canvas without a window."""
    return drawing.Pad(FigureCanvasAgg(Figure()).figure, predict.load_reader(model), folder)


def mouse(pad: drawing.Pad, event: str, axes, point: tuple[float, float]) -> None:
    """Send an event of the left button, at a point (x, y) of axes, in shares of their size."""
    place = axes.transAxes.transform(point)
    MouseEvent(f"{event}_event", pad.figure.canvas, *place, button=1)._process()


def write(pad: drawing.Pad, points: list[tuple[float, float]]) -> float:
    """Write a stroke; return the seconds from its end to the new picture."""
    mouse(pad, "button_press", pad.page, points[0])
    for point in points:
        mouse(pad, "motion_notify", pad.page, point)
    begin = time.perf_counter()
    mouse(pad, "button_release", pad.page, points[-1])
    return time.perf_counter() - begin


def main() -> None:
    """Print the times of each network."""
    print(f"{os.cpu_count()} cores")
    pads = {path: new_pad(Path(path), Path("drawn")) for path in sys.argv[1:]}
    seconds = {path: [] for path in pads}
    angles = np.linspace(0, 2 * np.pi, 40)
    for stroke in range(40):
        for path, pad in pads.items():
            x = (stroke % 4 + 0.5) / 4 + 0.05 * np.sin(angles)
            y = 0.5 + 0.3 * np.cos(angles)
            seconds[path].append(write(pad, list(zip(x, y, strict=True))))
            if stroke % 4 == 3:
                pad.take_back(0, None)
    for path, times in seconds.items():
        print(f"{path}: median {np.median(times):.3f} s, longest {max(times):.3f} s")


if __name__ == "__main__":
    main()
