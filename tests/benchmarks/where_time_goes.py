"""Where the time of a run goes: start, loading, compiling, steps, evaluation, and the memory.

    pip install torch==2.13.0
    python tests/benchmarks/where_time_goes.py

Prints Markdown tables: the parts of each script's default run, of which one epoch is trained; how
the time of an epoch grows with the training size, the timesteps and the units; the time of a step
beside that of the same network in PyTorch, if it is installed, in turns, and beside the arithmetic
limit, the floating-point operations of a step over the rate of a large matrix product; and on which
operations TensorFlow spends a step, as its own profiler counts them.
"""

import collections
import contextlib
import functools
import importlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from machine import machine

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

SCRIPTS = "classic", "seq_labelling", "variable_length_seq"
BATCH, STEPS, ROUNDS = 128, 30, 5

# TensorFlow's names of operations, by what they do in a step.
PARTS = {
    "matrix products": {"_MklMatMul", "_MklNativeFusedMatMul", "MatMul", "_FusedMatMul"},
    "cutting the products into gates": {"StridedSlice", "StridedSliceGrad", "Split", "ConcatV2"},
    "products, sums and activations of the gates": {
        *("Mul", "Sub", "AddV2", "AddN", "Sum", "BiasAddGrad"),
        *("Sigmoid", "SigmoidGrad", "Tanh", "TanhGrad"),
    },
}


def time_parts(script: str, begin: str) -> None:
    """Run one epoch of a script in this process and print the seconds of its parts as JSON.

    Args:
        begin: the time at which the process was asked for.
    """
    parts = {}
    module = importlib.import_module(script)
    parts["start"] = time.time() - float(begin)

    import common  # noqa: F401

    import keras

    from support import digits, strips

    def timed(name: str, function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapper(*positional, **named):
            start = time.perf_counter()
            try:
                return function(*positional, **named)
            finally:
                parts[name] = time.perf_counter() - start

        return wrapper

    class Steps(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.seconds = []

        def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
            self.start = time.perf_counter()
            if not self.seconds:
                parts["to the first step"] = time.time() - float(begin)

        def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
            self.seconds.append(time.perf_counter() - self.start)

    steps, fit = Steps(), keras.Model.fit
    keras.Model.fit = lambda *positional, callbacks, **named: fit(
        *positional, callbacks=[*callbacks, steps], **named
    )
    digits.load_digits = timed("loading", digits.load_digits)
    strips.load_strips = timed("loading", strips.load_strips)
    keras.Model.evaluate = timed("evaluation", keras.Model.evaluate)
    out = sys.stdout
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        module.main(module.Config(epochs=1, output=folder))
    step = statistics.median(steps.seconds)
    parts |= {"first step": steps.seconds[0] - step, "step": step}
    unit = 1 if sys.platform == "darwin" else 1024
    parts["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    print(json.dumps(parts), file=out)


def print_parts() -> None:
    """Print the table of the parts."""
    print(
        "| script | imports | loading | to the first step | tracing | step | evaluation | memory |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for script in SCRIPTS:
        command = [sys.executable, __file__, script, str(time.time())]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            sys.exit(ran.stderr)
        parts = json.loads(ran.stdout)
        print(
            f"| {script}.py | {parts['start']:.1f} s | {parts['loading']:.2f} s | "
            f"{parts['to the first step']:.1f} s | {parts['first step']:.1f} s | "
            f"{parts['step'] * 1000:.0f} ms | {parts['evaluation']:.1f} s | "
            f"{parts['memory'] / 2**20:.0f} MiB |",
            flush=True,
        )


def make_classifier(T: int = 28, units: int = 192, adam: bool = False):
    """Return a classifier of lesson 1 and a function that trains it on so many steps."""
    import common

    import keras
    import numpy as np

    import classic
    from support import training

    config = classic.Config(
        cell="GRU",
        units=units,
        depth=1,
        bidirectional=False,
        dropout=0.0,
        update_bias=0.0,
        optimizer="Adam" if adam else "Muon",
        schedule="constant",
        learning_rate=0.001,
        clip_norm=1.0,
    )
    network = classic.classif_rnn_network(T, 28, config)
    optimizer = common.optimizer(config, updates=1)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(optimizer, loss, metrics=["accuracy"])
    random = np.random.default_rng(0)

    def train(steps: int) -> float:
        """Train on random images; return the seconds."""
        x = random.integers(0, 256, (steps * BATCH, T, 28), np.uint8)
        examples = common.Examples(x, random.integers(0, 10, len(x), np.uint8))
        batches = training.in_batches(examples, BATCH)
        start = time.perf_counter()
        network.fit(batches, shuffle=False, verbose=0)
        return time.perf_counter() - start

    train(5)
    return network, train


def in_turns(functions: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Call all functions in turns; return the median seconds of each."""
    seconds = {name: [] for name in functions}
    for _ in range(ROUNDS):
        for name, function in functions.items():
            seconds[name].append(function())
    return {name: statistics.median(values) for name, values in seconds.items()}


def print_growth() -> None:
    """Print how the time of an epoch grows with its size, the timesteps and the units."""
    _, train = make_classifier()
    sizes = {name: 430 // part for name, part in (("quarter", 4), ("half", 2), ("all", 1))}
    seconds = in_turns({name: functools.partial(train, sizes[name]) for name in sizes})
    whole = seconds["all"] / sizes["all"]
    print(
        "\n| one epoch of | batches | seconds | a batch, against that of all |\n|---|---|---|---|"
    )
    for name, value in seconds.items():
        print(f"| {name} | {sizes[name]} | {value:.1f} | {value / sizes[name] / whole:.2f} |")
    for what, name, values in (
        ("timesteps", "T", (7, 14, 28, 56, 112)),
        ("units", "units", (48, 96, 192, 384)),
    ):
        trains = {value: make_classifier(**{name: value})[1] for value in values}
        seconds = in_turns({v: functools.partial(train, STEPS) for v, train in trains.items()})
        print(f"\n| {what} | {' | '.join(map(str, values))} |\n|---{'|---' * len(values)}|")
        print(f"| a step | {' | '.join(f'{seconds[v] / STEPS * 1e3:.0f} ms' for v in values)} |")


def torch_trainer(units: int) -> Callable[[], float]:
    """Return a function that trains the same classifier with PyTorch and returns the seconds."""
    import numpy as np
    import torch

    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = torch.nn.GRU(28, units, batch_first=True)
            self.logits = torch.nn.Linear(units, 10)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.logits(self.gru(pixels.float() / 255)[0][:, -1])

    network = Classifier()
    optimizer = torch.optim.Adam(network.parameters(), 0.001)
    random = np.random.default_rng(0)

    def train(steps: int = STEPS) -> float:
        x = torch.from_numpy(random.integers(0, 256, (steps * BATCH, 28, 28), np.uint8))
        y = torch.from_numpy(random.integers(0, 10, len(x)))
        start = time.perf_counter()
        for batch in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(x[batch]), y[batch])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
        return time.perf_counter() - start

    train(5)
    return train


def matrix_product(n: int = 2048) -> float:
    """Return the seconds of one floating-point operation in a large matrix product."""
    import numpy as np

    matrix = np.random.default_rng(0).random((n, n), np.float32)
    start = time.perf_counter()
    for _ in range(5):
        matrix @ matrix
    return (time.perf_counter() - start) / (5 * 2 * n**3)


def print_step() -> None:
    """Print the time of a step beside PyTorch's and the arithmetic limit."""
    network, muon = make_classifier()
    _, adam = make_classifier(adam=True)
    functions = {
        "this script, Muon": functools.partial(muon, STEPS),
        "the same with Adam": functools.partial(adam, STEPS),
    }
    with contextlib.suppress(PackageNotFoundError):
        functions[f"PyTorch {version('torch')}, Adam"] = torch_trainer(192)
    limit = "arithmetic limit"
    seconds = in_turns(functions | {limit: matrix_product})
    # Each weight of a matrix is multiplied once forward and twice backward, at every timestep.
    weights = sum(
        weight.shape[0] * weight.shape[1] * (1 if "logits" in weight.path else 28)
        for weight in network.trainable_variables
        if "bias" not in weight.path
    )
    operations = 2 * 3 * weights * BATCH
    print(f"\na step: {operations / 1e9:.1f} thousand million floating-point operations")
    print("\n| GRU 192, batch 128 | a step | against the first |\n|---|---|---|")
    first = seconds["this script, Muon"] / STEPS
    for name, value in seconds.items():
        step = value * operations if name == limit else value / STEPS
        print(f"| {name} | {step * 1e3:.1f} ms | {step / first:.2f} |")


def print_profile() -> None:
    """Print on which operations the cores are busy during a step."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    _, train = make_classifier()
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        train(STEPS)
        tf.profiler.experimental.stop()
        (file,) = Path(folder).glob("**/*.xplane.pb")
        profile = xplane_pb2.XSpace.FromString(file.read_bytes())
    seconds = collections.Counter()
    for plane in profile.planes:
        for thread in plane.lines:
            if thread.name.startswith("tf_Compute"):
                for event in thread.events:
                    # An operation is called "name:type"; what runs it has none, or two.
                    name, colon, kind = plane.event_metadata[event.metadata_id].name.rpartition(":")
                    if not colon or name.endswith(":"):
                        continue
                    parts = [part for part, kinds in PARTS.items() if kind in kinds]
                    seconds[parts[0] if parts else "other"] += event.duration_ps / 1e12
    print(f"\n| GRU 192, batch {BATCH}: a step | both cores | share |\n|---|---|---|")
    for part, value in seconds.most_common():
        share = value / seconds.total()
        print(f"| {part} | {value / STEPS * 1e3:.1f} ms | {share:.0%} |")


def main() -> None:
    """Print all tables."""
    print(machine("keras", "tensorflow"))
    print_parts()
    print_growth()
    print_step()
    print_profile()


if __name__ == "__main__":
    if len(sys.argv) == 3:
        time_parts(*sys.argv[1:])
    else:
        main()
