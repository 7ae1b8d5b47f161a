"""How much padding do buckets save, and how much time? Both kinds of epoch in turns.

python tests/benchmarks/padding.py

Prints a Markdown table.
"""

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import common

import keras
from machine import machine

from support import training
from variable_length_seq import Config, load_data, rnn_seqlab_network

ROUNDS = 5
STRIPS = 4000


def main() -> None:
    """Print the share of padding with and without buckets, and the ratio of the epochs' times."""
    print(machine("keras", "tensorflow"))
    config = Config(optimizer="Muon", schedule="constant", learning_rate=0.001)
    common.set_seed(config.seed)
    network = rnn_seqlab_network(28, config)
    network.compile(
        optimizer=common.optimizer(config, updates=1),
        loss=keras.losses.CTC(),
    )
    epochs, seconds = {}, {}
    for name, buckets in ("without buckets", False), ("with buckets", True):
        epochs[name], *_ = load_data(Config(train_size=STRIPS, buckets=buckets))
        seconds[name] = []
    for _ in range(ROUNDS + 1):
        for name, batches in epochs.items():
            start = time.perf_counter()
            network.fit(batches, shuffle=False, verbose=0)
            seconds[name].append(time.perf_counter() - start)
    # The first round builds the graph.
    ratios = [one / other for one, other in zip(*seconds.values(), strict=True)][1:]
    times = {
        "with buckets": "1",
        "without buckets": f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to "
        f"{max(ratios):.2f} in {ROUNDS} rounds)",
    }
    print(f"| an epoch of {STRIPS:,} strips | padding among the timesteps | time |")
    print("|---|---|---|")
    for name, time_of in times.items():
        print(f"| {name} | {training.padding_share(epochs[name]):.1%} | {time_of} |")


if __name__ == "__main__":
    main()
