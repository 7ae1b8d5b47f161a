"""What does a second training change? On the same digits, and on digits of another kind.

    python tests/benchmarks/second_training.py

Trains the network of lesson 1. Then draws pictures of seven-segment digits, as on a clock: 10 of
each digit to train on, and 20 others of each to test on. Trains a second time from the weights of
the network, once on MNIST again and once on a data set of the first pictures. Does the network
learn to read them, and what does it forget? Prints a Markdown table of the accuracy on the test
pictures and on the MNIST test digits.
"""

import contextlib
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import numpy as np
from accuracy import trained
from machine import machine
from PIL import Image, ImageDraw

from support import digits, predict, saved

# The two ends (x, y) of each segment, and the segments of each digit.
SEGMENTS = {
    "a": ((0, 0), (1, 0)),
    "b": ((1, 0), (1, 1)),
    "c": ((1, 1), (1, 2)),
    "d": ((0, 2), (1, 2)),
    "e": ((0, 1), (0, 2)),
    "f": ((0, 0), (0, 1)),
    "g": ((0, 1), (1, 1)),
}
DIGITS = "abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "gfabcd"
LONGER = "--epochs 1 --learning-rate 0.0008"
OWN = "--epochs 20 --batch-size 8 --learning-rate 0.002"


def draw_digit(digit: int, random: np.random.Generator) -> Image.Image:
    """Draw a seven-segment digit of a random size, width and slant on a page."""
    size = random.integers(30, 80)  # of a segment, in pixels
    slant, width = random.uniform(0, 0.2), round(size * random.uniform(0.1, 0.3))
    x, y = random.integers(size, 2 * size, 2)
    page = Image.new("L", (4 * size, 5 * size), "white")
    for segment in DIGITS[digit]:
        ends = [
            (x + size * (across + slant * (2 - down)), y + size * down)
            for across, down in SEGMENTS[segment]
        ]
        ImageDraw.Draw(page).line(ends, fill="black", width=width)
    noise = random.normal(0, 8, (5 * size, 4 * size))
    return Image.fromarray((np.asarray(page) + noise).clip(0, 255).astype(np.uint8))


def draw_all(folder: Path, each: int, seed: int) -> None:
    """Draw pictures of every digit: FOLDER/7/0.png is a 7."""
    random = np.random.default_rng(seed)
    for digit in range(10):
        (folder / str(digit)).mkdir(parents=True)
        for number in range(each):
            draw_digit(digit, random).save(folder / str(digit) / f"{number}.png")


def accuracies(model: Path, pictures: Path) -> str:
    """Write, as two cells, which share of the pictures and of MNIST's test digits a model reads."""
    network = saved.load(model)
    paths = sorted(pictures.glob("*/*"))
    images = np.stack([predict.to_digit(predict.find_ink(path)) for path in paths])
    _, mnist = digits.load_mnist()
    return " | ".join(
        f"{(network.predict(x, verbose=0).argmax(axis=1) == y).mean():.2%}"
        for x, y in ((images, np.array([int(path.parent.name) for path in paths])), mnist)
    )


def main() -> None:
    """Train, draw, collect, train again; test every network."""
    print(machine("keras", "tensorflow"))
    print("| training | seven-segment digits | MNIST test digits |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as name, trained("classic.py") as model:
        folder = Path(name)
        draw_all(folder / "mine", each=10, seed=0)
        draw_all(folder / "new", each=20, seed=1)
        with contextlib.redirect_stdout(sys.stderr):  # no part of the table
            predict.collect_digits(folder / "mine", folder / "mine.pkl")
        print(f"| `python classic.py` | {accuracies(model, folder / 'new')} |")
        start = f"classic.py --start-from {model}"
        second = {LONGER: "", OWN: f" --data {folder / 'mine.pkl'}"}
        for options, data in second.items():
            with trained(f"{start} {options}{data}") as longer:
                what = "then 100 seven-segment digits" if data else "then MNIST again"
                print(f"| {what}, `{options}` | {accuracies(longer, folder / 'new')} |")


if __name__ == "__main__":
    main()
