"""What does writing for TensorBoard cost? Epochs with and without it, in turns.

python tests/benchmarks/logging_cost.py
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import common

import keras

from classic import classif_rnn_network
from standardize import Config, scaling_layer

ROUNDS = 3


def main() -> None:
    """Print the ratio of the times of an epoch, median of all rounds."""
    config = Config(train_size=20_000)
    common.set_seed(config.seed)
    train, validation, _ = common.load_digits(config)
    batches = common.EpochBatches(
        lambda random: common.shuffled(train, random), config.batch_size, config.seed
    )
    network = classif_rnn_network(
        28, 28, config.cell, config.units, scaling=scaling_layer("standardized", train.x)
    )
    network.compile(
        common.muon(common.one_cycle(1e-3, 10_000, 0.2), config.clip_norm),
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

    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(ROUNDS + 1):
            logs = Path(folder) / str(turn)
            callbacks = [
                keras.callbacks.TensorBoard(logs, histogram_freq=1),
                common.LogBatches(logs),
            ]
            ratios.append(epoch(callbacks) / epoch([]))
    ratios = ratios[1:]  # the first round builds the graph
    print(
        f"an epoch that is logged takes {statistics.median(ratios):.3f} times as long as one that "
        f"is not (from {min(ratios):.3f} to {max(ratios):.3f} in {ROUNDS} rounds)"
    )


if __name__ == "__main__":
    main()
