"""Test a labeller of any length on strips of 1 to 12 digits, 1,000 strips of each.

Each strip is read as it is, and once more with 100 steps of padding after it.

python tests/benchmarks/lengths.py runs/variable_length_seq/TIME/model.keras
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import common

import keras
import numpy as np

from support import ctc, digits, strips
from variable_length_seq import PADDING, pad

LENGTHS = 1, 2, 3, 4, 5, 6, 8, 12
COLUMNS = 4  # of the default network


def main() -> None:
    """Print a row of figures for each length."""
    network = keras.saving.load_model(sys.argv[1])
    _, mnist = digits.load_mnist()
    print("digits  label error rate  sequence accuracy  label error rate, 100 steps of padding")
    for length in LENGTHS:
        # Strips of one composition share no digit; long ones take several compositions.
        random = np.random.default_rng(length)
        needed = -(-1000 * length // len(mnist.x))
        parts = [strips.compose_strips(mnist, length, length, random) for _ in range(needed)]
        test = common.Examples(*(np.concatenate(part)[:1000] for part in zip(*parts, strict=True)))
        rates = []
        for steps in 0, 100:
            pixels = pad(test.x, COLUMNS)
            padding = ((0, 0), (0, steps * COLUMNS), (0, 0))
            pixels = np.pad(pixels, padding, constant_values=PADDING)
            logits = network.predict(pixels, batch_size=500, verbose=0)
            rates.append(ctc.error_rates(test.y, ctc.read_labels(logits)))
        alone, padded = rates
        print(
            f"{length:6}  {alone['label_error_rate']:16.2%}  "
            f"{1 - alone['sequence_error_rate']:17.2%}  {padded['label_error_rate']:38.2%}"
        )


if __name__ == "__main__":
    main()
