"""Does a network of lesson 1 learn to read digits of another kind, and what does it forget?

    python tests/benchmarks/own_digits.py runs/classic/TIME/model.keras

Draws pictures of seven-segment digits, as on a clock, 10 of each digit to train on and 20 of each,
drawn anew, to test on; makes a data set of the first and trains on it, from the weights of the
network. Prints the accuracy on the new pictures and on the MNIST test digits, before and after.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import numpy as np
from PIL import Image, ImageDraw

from support import digits, predict, saved
from tests.benchmarks.machine import machine

ROOT = Path(__file__).parent.parent.parent

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
TRAINING = ["--epochs", "20", "--batch-size", "8", "--learning-rate", "0.002"]


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
    """Say how many of the pictures and of the MNIST test digits a network reads right."""
    network = saved.load(model)
    paths = sorted(pictures.glob("*/*"))
    images = np.stack([predict.to_digit(predict.find_ink(path)) for path in paths])
    _, mnist = digits.load_mnist()
    parts = {
        "new pictures": (images, np.array([int(path.parent.name) for path in paths])),
        "MNIST": mnist,
    }
    return ", ".join(
        f"{name} {(network.predict(x, verbose=0).argmax(axis=1) == y).mean():.2%}"
        for name, (x, y) in parts.items()
    )


def main() -> None:
    """Draw, test, collect, train, test again."""
    print(machine("keras", "tensorflow"))
    model = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_all(folder / "mine", each=10, seed=0)
        draw_all(folder / "new", each=20, seed=1)
        print(f"before: {accuracies(model, folder / 'new')}")
        predict.collect_digits(folder / "mine", folder / "mine.pkl")
        command = [sys.executable, ROOT / "classic.py", "--start-from", model, *TRAINING]
        command += ["--data", folder / "mine.pkl", "--output", folder / "runs"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (trained,) = folder.glob("runs/classic/*/model.keras")
        print(f"after: {accuracies(trained, folder / 'new')}")


if __name__ == "__main__":
    main()
