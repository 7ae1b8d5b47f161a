"""Test the network of lesson 3 on strips of 1 to 12 digits, 1,000 strips of each.

Each strip is read as it is, and once more with 100 steps of padding after it, by a network that
masks the padding and by one that does not; both are trained first. Prints a Markdown table.

python tests/benchmarks/lengths.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import common

import keras
import numpy as np
from accuracy import trained
from machine import machine

from support import ctc, digits, strips
from variable_length_seq import PADDING, pad

COMMANDS = {
    "masked": "variable_length_seq.py",
    "without a mask": "variable_length_seq.py --no-mask",
}
LENGTHS = 1, 2, 3, 4, 5, 6, 8, 12
STRIPS, STEPS = 1000, 100  # strips of each length; steps of padding after each
COLUMNS = 4  # of the default network


def compose(mnist: common.Examples, length: int) -> common.Examples:
    """Compose strips of a length. One composition may have too few of the long ones."""
    random = np.random.default_rng(length)
    compositions = -(-STRIPS * length // len(mnist.x))
    parts = [strips.compose_strips(mnist, length, length, random) for _ in range(compositions)]
    return common.Examples(*(np.concatenate(part)[:STRIPS] for part in zip(*parts, strict=True)))


def rates(network: keras.Model, test: common.Examples, steps: int) -> tuple[float, float]:
    """Return label error rate and sequence accuracy on strips with so many steps of padding."""
    pixels = pad(test.x)  # of 28 columns a digit, which are whole steps
    padding = ((0, 0), (0, steps * COLUMNS), (0, 0))
    pixels = np.pad(pixels, padding, constant_values=PADDING)
    logits = network.predict(pixels, batch_size=500, verbose=0)
    errors = ctc.error_rates(test.y, ctc.read_labels(logits))
    return errors["label_error_rate"], 1 - errors["sequence_error_rate"]


def main() -> None:
    """Train both networks; print a row of figures for each length."""
    print(machine("keras", "tensorflow"))
    networks = {}
    for name, command in COMMANDS.items():
        with trained(command) as path:
            networks[name] = keras.saving.load_model(path)
    _, mnist = digits.load_mnist()
    heads = "digits", "sequence accuracy", "label error rate", f"with {STEPS} steps of padding"
    print(f"| {' | '.join((*heads, 'the same, trained without a mask', heads[-1]))} |")
    print("|---" * (len(heads) + 2) + "|")
    for length in LENGTHS:
        test = compose(mnist, length)
        (error, accuracy), (padded, _) = (
            rates(networks["masked"], test, steps) for steps in (0, STEPS)
        )
        unmasked = [rates(networks["without a mask"], test, steps)[0] for steps in (0, STEPS)]
        figures = [accuracy, error, padded, *unmasked]
        print(f"| {length} | {' | '.join(f'{figure:.2%}' for figure in figures)} |", flush=True)


if __name__ == "__main__":
    main()
