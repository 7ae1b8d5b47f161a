"""Test a labeller of any length on strips of 1 to 12 digits, 1,000 strips of each.

python tests/benchmarks/lengths.py runs/variable_length_seq/TIME/model.keras
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import common

import keras
import numpy as np

LENGTHS = 1, 2, 3, 4, 5, 6, 8, 10, 12


def main() -> None:
    """Print a row of figures for each length."""
    network = keras.saving.load_model(sys.argv[1])
    _, digits = common.load_mnist()
    print("digits  label error rate  sequence accuracy")
    for length in LENGTHS:
        # Strips of one composition share no digit; long ones take several compositions.
        random = np.random.default_rng(length)
        needed = -(-1000 * length // len(digits.x))
        parts = [common.compose_strips(digits, length, length, random) for _ in range(needed)]
        test = common.Examples(*(np.concatenate(part)[:1000] for part in zip(*parts, strict=True)))
        logits = network.predict(common.pad(test.x, 4), batch_size=500, verbose=0)
        rates = common.error_rates(test.y, common.read_labels(logits))
        print(
            f"{length:6}  {rates['label_error_rate']:16.2%}  "
            f"{1 - rates['sequence_error_rate']:17.2%}"
        )


if __name__ == "__main__":
    main()
