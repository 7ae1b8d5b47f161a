"""Time the evaluation of a sequence labeller against its own forward pass, in turns.

    python tests/benchmarks/evaluation_time.py

Evaluation is the forward pass over 2,000 strips, both decodings and both error rates. The network
is that of lesson 2, trained first. Prints a Markdown table.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import common

import keras
import numpy as np
from accuracy import trained
from machine import machine

from support import ctc, strips

ROUNDS = 7


def main() -> None:
    """Print the times of forward pass and decodings, and of all, against the forward pass."""
    print(machine("keras", "tensorflow"))
    with trained("seq_labelling.py") as path:
        network = keras.saving.load_model(path)
    *_, test = strips.load_strips(common.DATA_FILE, shortest=5, longest=5)
    test = strips.stack_equal(test, "test")

    steps = np.full(len(test.x), network.output_shape[1], np.int32)

    def forward() -> np.ndarray:
        return network.predict(test.x, batch_size=500, verbose=0)

    def decode(logits: np.ndarray, **search: str | int) -> None:
        labels, _ = keras.ops.ctc_decode(logits, steps, mask_index=ctc.BLANK, **search)
        ctc.error_rates(test.y, ctc.trimmed(labels[0]))

    searches = {
        "greedy decoding and its error rates": {"strategy": "greedy"},
        "beam search and its error rates": {"strategy": "beam_search", "beam_width": 20},
    }
    rounds = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        logits = forward()
        ends = [time.perf_counter()]
        for search in searches.values():
            decode(logits, **search)
            ends.append(time.perf_counter())
        rounds.append(np.diff([start, *ends]) / (ends[0] - start))
    ratios = np.array(rounds[1:])  # the first round builds the graph
    print("| evaluation of 2,000 strips | time | least and most |\n|---|---|---|")
    print("| forward pass of the network | 1 | |")
    parts = [*zip(searches, ratios.T[1:], strict=True), ("all three", ratios.sum(axis=1))]
    for name, part in parts:
        print(f"| {name} | {np.median(part):.2f} | {part.min():.2f} to {part.max():.2f} |")


if __name__ == "__main__":
    main()
