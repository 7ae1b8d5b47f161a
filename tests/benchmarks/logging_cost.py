"""What does writing for TensorBoard cost? Epochs with and without it, in turns.

    python tests/benchmarks/logging_cost.py

Prints a Markdown table: the ratio of the two, and that of the seconds in the callbacks to the rest
of the epoch, which a machine whose speed changes from epoch to epoch disturbs less.
"""

import functools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import common

import keras
from machine import machine

from standardize import Config, build_network
from support import digits, training
from support.tensorboard_log import LogBatches

ROUNDS = 8


class Stopwatch:
    """Adds up the seconds that callbacks take."""

    def __init__(self, *callbacks: keras.callbacks.Callback) -> None:
        self.seconds = 0.0
        for callback in callbacks:
            for name in filter(lambda name: name.startswith("on_"), dir(callback)):
                setattr(callback, name, self.timed(getattr(callback, name)))

    def timed(self, method: Callable) -> Callable:
        @functools.wraps(method)
        def wrapper(*positional, **named):
            start = time.perf_counter()
            method(*positional, **named)
            self.seconds += time.perf_counter() - start

        return wrapper


def main() -> None:
    """Print the ratio of the times of an epoch and the share of the callbacks, medians."""
    print(machine("keras", "tensorflow"))
    config = Config(
        scaling="standardized", optimizer="Muon", schedule="constant", learning_rate=0.001
    )
    train, validation, _ = digits.load_digits(config.data)
    batches = training.EpochBatches(
        digits.shuffled_anew(train), batch_size=config.batch_size, seed=config.seed
    )
    network = build_network(config, train)
    network.compile(
        common.optimizer(config, updates=1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )

    def epoch(callbacks):
        start = time.perf_counter()
        network.fit(
            batches,
            shuffle=False,
            validation_data=validation,
            validation_batch_size=500,
            callbacks=callbacks,
            verbose=0,
        )
        return time.perf_counter() - start

    ratios, shares = [], []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(ROUNDS + 1):
            logs = Path(folder) / str(turn)
            callbacks = [
                keras.callbacks.TensorBoard(logs, histogram_freq=1),
                LogBatches(logs),
            ]
            stopwatch = Stopwatch(*callbacks)
            logged = epoch(callbacks)
            shares.append(stopwatch.seconds / (logged - stopwatch.seconds))
            ratios.append(logged / epoch([]))
    # The first round builds the graph.
    print(f"| ratio | median of {ROUNDS} rounds | least and most |\n|---|---|---|")
    for what, values in (
        ("an epoch with logging, to one without", ratios[1:]),
        ("the time in the callbacks, to the rest of the epoch", shares[1:]),
    ):
        print(
            f"| {what} | {statistics.median(values):.3f} | {min(values):.3f} to {max(values):.3f} |"
        )


if __name__ == "__main__":
    main()
