"""Time the evaluation of a sequence labeller against its own forward pass, in turns.

    python tests/benchmarks/evaluation_time.py runs/seq_labelling/TIME/model.keras

Evaluation is the forward pass over 2,000 strips, both decodings and both error rates.
"""

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import common

import keras
import numpy as np

from support import ctc, strips

ROUNDS = 7


def main() -> None:
    """Print the ratio of evaluation to forward pass, median of all rounds."""
    network = keras.saving.load_model(sys.argv[1])
    *_, test = strips.load_strips(common.DATA_FILE, shortest=5, longest=5)
    test = strips.stack_equal(test, "test")

    def forward():
        return network.predict(test.x, batch_size=500, verbose=0)

    def evaluate():
        logits = forward()
        steps = np.full(len(logits), logits.shape[1], np.int32)
        for search in {"strategy": "greedy"}, {"strategy": "beam_search", "beam_width": 20}:
            labels, _ = keras.ops.ctc_decode(logits, steps, mask_index=ctc.BLANK, **search)
            print(f"{search}: {ctc.error_rates(test.y, ctc.trimmed(labels[0]))}")

    ratios = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        forward()
        middle = time.perf_counter()
        evaluate()
        ratios.append((time.perf_counter() - middle) / (middle - start))
    ratios = ratios[1:]  # the first round builds the graph
    print(
        f"evaluation takes {statistics.median(ratios):.2f} times the forward pass "
        f"(from {min(ratios):.2f} to {max(ratios):.2f} in {ROUNDS} rounds)"
    )


if __name__ == "__main__":
    main()
