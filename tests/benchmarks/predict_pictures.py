"""Read MNIST test images from pictures, as a user would: `--predict` on files of all kinds.

    python tests/benchmarks/predict_pictures.py classic.py runs/classic/TIME/model.keras
    python tests/benchmarks/predict_pictures.py variable_length_seq.py MODEL

500 digits, or 500 strips of 2 to 8 digits, each enlarged to a random size, put somewhere on a
larger page, light on dark or dark on light, as PNG files.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import numpy as np
from PIL import Image

from support import ctc, digits, strips

ROOT = Path(__file__).parent.parent.parent
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


def main() -> None:
    """Print the share of digits, or of labels, that were read right."""
    script, model = sys.argv[1:]
    random = np.random.default_rng(0)
    _, mnist = digits.load_mnist()
    if script == "classic.py":
        truths, images = [[y] for y in mnist.y[:PICTURES]], mnist.x[:PICTURES]
    else:
        composed = strips.compose_strips(mnist, 2, 8, random)
        truths = [y[y != ctc.BLANK] - 1 for y in composed.y[:PICTURES]]
        images = [x.T for x in composed.x[:PICTURES]]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number:03}.png" for number in range(PICTURES)]
        for image, path in zip(images, paths, strict=True):
            picture_of(image, random).save(path)
        command = [sys.executable, ROOT / script, "--model", model, "--predict", *paths]
        printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    readings = re.findall(r"^.*\.png: (nothing|[\d ]+) \(", printed, re.MULTILINE)
    labels = [[int(x) for x in reading.split() if x != "nothing"] for reading in readings]
    wrong = sum(
        int(ctc.edit_distances(np.array([truth]) + 1, np.array([reading], int) + 1)[0])
        for truth, reading in zip(truths, labels, strict=True)
    )
    count = sum(map(len, truths))
    print(
        f"{script}: {PICTURES} pictures, {count} labels, {wrong} mistakes: {1 - wrong / count:.1%}"
    )


if __name__ == "__main__":
    main()
