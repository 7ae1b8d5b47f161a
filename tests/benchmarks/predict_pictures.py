"""Read MNIST test images from pictures, as a user would: `--predict` on files of all kinds.

    python tests/benchmarks/predict_pictures.py

Trains the networks of lessons 1 to 3. Then draws 500 digits for lesson 1, and 500 strips of 2 to 8
digits for lessons 2 and 3: each is enlarged to a random size and put somewhere on a larger page,
light on dark or dark on light, as a PNG file. Prints a Markdown table of how many are read
correctly.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import numpy as np
from accuracy import ROOT, trained
from machine import machine
from PIL import Image

from support import ctc, digits, strips

PICTURES = 500


def picture_of(image: np.ndarray, random: np.random.Generator) -> Image.Image:
    """Enlarge an image (height, width), ink 255, and put it somewhere on a larger page."""
    height, width = image.shape
    scale = random.uniform(1, 12)
    size = (round(width * scale), round(height * scale))
    large = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    before = random.integers(0, size[::-1])
    after = random.integers(0, size[::-1])
    page = np.pad(large, list(zip(before, after, strict=True)))
    return Image.fromarray(page if random.random() < 0.5 else 255 - page)


def examples(script: str, random: np.random.Generator) -> tuple[list, list[np.ndarray]]:
    """Return the digits of each picture, and the image of each (height, width)."""
    _, mnist = digits.load_mnist()
    if script == "classic.py":
        return [[y] for y in mnist.y[:PICTURES]], list(mnist.x[:PICTURES])
    composed = strips.compose_strips(mnist, 2, 8, random)
    truths = [y[y != ctc.BLANK] - 1 for y in composed.y[:PICTURES]]
    return truths, [x.T for x in composed.x[:PICTURES]]


def read(script: str, model: Path, images: list[np.ndarray], random) -> list[list[int]]:
    """Draw a picture of each image; return the digits that the script reads in each."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number:03}.png" for number in range(PICTURES)]
        for image, path in zip(images, paths, strict=True):
            picture_of(image, random).save(path)
        command = [sys.executable, ROOT / script, "--model", model, "--predict", *paths]
        printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    readings = re.findall(r"^.*\.png: (nothing|[\d ]+) \(", printed, re.MULTILINE)
    return [[int(x) for x in reading.split() if x != "nothing"] for reading in readings]


def main() -> None:
    """Print the share of the digits in all pictures that were read correctly."""
    print(machine("keras", "tensorflow"))
    print("| network | pictures | digits in them | digits read correctly |\n|---|---|---|---|")
    for script in "classic.py", "seq_labelling.py", "variable_length_seq.py":
        random = np.random.default_rng(0)
        truths, images = examples(script, random)
        with trained(script) as model:
            readings = read(script, model, images, random)
        wrong = sum(
            int(ctc.edit_distances(np.array([truth]) + 1, np.array([reading], int) + 1)[0])
            for truth, reading in zip(truths, readings, strict=True)
        )
        count = sum(map(len, truths))
        print(f"| `python {script}` | {PICTURES} | {count:,} | {1 - wrong / count:.1%} |")


if __name__ == "__main__":
    main()
