"""Train the four scripts on a GPU and on the processor of the same machine, with JAX.

    pip install -r requirements.txt "jax[cuda13]"
    KERAS_BACKEND=jax python tests/benchmarks/gpu.py [SCRIPT ...]

Prints a Markdown table: the default settings, with GRU and with LSTM, and lesson 3 without its
mask; whether cuDNN, the fast implementation of recurrent layers, is part of the training step; the
test figures and the seconds that training took, each on the GPU and on the processor; whether a
second run on the GPU with the same seed gives the same figures, to the last digit.
"""

import importlib
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))
os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # leave the GPU's memory to the scripts

import common

import jax
import keras
import numpy as np
import tyro
from accuracy import train
from backends import SCRIPTS
from machine import machine

CELLS = "GRU", "LSTM"
COMMANDS = SCRIPTS | {"variable_length_seq.py --no-mask": "test_label_error_rate"}
READS_LABELS = "seq_labelling.py", "variable_length_seq.py"
SEED = 0


def network_of(command: str, cell: str) -> keras.Model:
    """Build the network that a command trains, but with the given cell."""
    script, *arguments = command.split()
    module = importlib.import_module(script.removesuffix(".py"))
    config = tyro.cli(module.Config, args=[*arguments, "--cell", cell])
    if script == "standardize.py":
        return module.build_network(config, common.Examples(np.zeros((1, 28, 28), np.uint8), None))
    if script == "classic.py":
        return module.classif_rnn_network(28, 28, config)
    if script == "variable_length_seq.py":
        return module.rnn_seqlab_network(28, config)
    return module.rnn_seqlab_network(140, 28, config)


def uses_cudnn(network: keras.Model) -> bool:
    """Tell whether the compiled forward pass of training calls cuDNN's recurrent layers."""
    pixels = np.zeros((8, *[size or 140 for size in network.input_shape[1:]]), "uint8")

    def forward(weights: list[jax.Array], pixels: jax.Array) -> jax.Array:
        trained, fixed = weights
        return network.stateless_call(trained, fixed, pixels, training=True)[0]

    weights = [
        [variable.value for variable in variables]
        for variables in (network.trainable_variables, network.non_trainable_variables)
    ]
    return "cudnn_rnn" in jax.jit(forward).lower(weights, pixels).as_text()


def row(command: str, cell: str, figure: str) -> str:
    """Train by a command on the GPU, again on the GPU, and on the processor; return a table row."""
    script, *arguments = command.split()
    # The figures are those of greedy decoding; with JAX, beam search would take a minute more.
    narrow = ["--beam-width", "1"] if script in READS_LABELS else []
    first, again, processor = (
        metrics
        for platform in ("cuda", "cuda", "cpu")
        for metrics in train(
            script,
            [*arguments, "--cell", cell, *narrow],
            seed=SEED,
            KERAS_BACKEND="jax",
            JAX_PLATFORMS=platform,
        ).values()
    )
    timeless = [
        {name: value for name, value in run.items() if "seconds" not in name}
        for run in (first, again)
    ]
    cells = (
        f"`python {command} --cell {cell}`",
        "yes" if uses_cudnn(network_of(command, cell)) else "no",
        figure.removeprefix("test_").replace("_", " "),
        f"{first[figure]:.2%}",
        f"{processor[figure]:.2%}",
        f"{first['training_seconds']:.0f}",
        f"{processor['training_seconds']:.0f}",
        "the same" if timeless[0] == timeless[1] else f"differs: {again[figure]:.2%}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    if jax.default_backend() != "gpu":
        sys.exit("JAX sees no GPU here: pip install 'jax[cuda13]'")
    print(f"{machine('keras', 'jax').strip()}, {jax.devices()[0].device_kind}\n")
    heads = "command", "cuDNN", "figure", "on the GPU", "on the processor"
    heads += "seconds: GPU", "seconds: processor", "second run on the GPU"
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for cell in CELLS:
        for command, figure in COMMANDS.items():
            if not sys.argv[1:] or command.split()[0] in sys.argv[1:]:
                print(row(command, cell, figure), flush=True)


if __name__ == "__main__":
    main()
