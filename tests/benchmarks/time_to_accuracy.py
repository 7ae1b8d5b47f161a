"""How long published recipes take to their own test figure, and how long these scripts take to it.

    python tests/benchmarks/time_to_accuracy.py [PICTURE]

The recipes are settings of the scripts. Each trains in a process of its own, ours before it and
after it, because a machine's speed changes. The clock runs during training alone, compilation
included, and stands still while the network is tested. Prints a Markdown table, and draws the test
figures over the seconds.
"""

import contextlib
import importlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import common

import keras
import numpy as np
from machine import machine

from support import command_line, ctc, digits, strips


class Task(NamedTuple):
    """A published recipe, the test figure that it came to, and the command of ours to compare."""

    recipe: str
    theirs: str  # the recipe as a command, but for "python"
    figure: str
    target: float
    ours: str
    bar: int  # how many times sooner ours shall reach the figure

    def reached(self, figure: float) -> bool:
        """Tell whether a figure is as good as the published one."""
        return figure >= self.target if self.figure == "accuracy" else figure <= self.target


TASKS = {
    "lstm": Task(
        recipe="LSTM 128, Adam 0.001, batch 128, 23 epochs",
        theirs="classic.py --cell LSTM --units 128 --optimizer Adam --learning-rate 0.001 "
        "--epochs 23 --batch-size 128",
        figure="accuracy",
        target=0.9881,
        ours="classic.py --epochs 2",
        bar=12,
    ),
    "simple_rnn": Task(
        recipe="SimpleRNN 256, dropout 0.2, SGD 0.01, batch 128, 20 epochs",
        theirs="classic.py --cell SimpleRNN --units 256 --dropout 0.2 --optimizer SGD "
        "--learning-rate 0.01 --epochs 20 --batch-size 128",
        figure="accuracy",
        target=0.975,
        ours="classic.py --cell SimpleRNN --batch-size 64 --epochs 2 --learning-rate 0.002 "
        "--distortion 0 --shift 0",
        bar=8,
    ),
    "ctc": Task(
        recipe="3 x bidirectional LSTM 128, CTC, Adam 0.0001, batch 32",
        theirs="seq_labelling.py --cell LSTM --depth 3 --columns 1 "
        "--optimizer Adam --learning-rate 0.0001 --batch-size 32 --epochs 1000",
        figure="label error rate",
        target=0.05,
        ours="seq_labelling.py --epochs 2 --learning-rate 0.006",
        bar=25,
    ),
}
PLAIN = " --schedule constant --clip-norm None --distortion 0 --shift 0"  # as all recipes are
STRIPS = 500  # to test on
INTERVAL = 43  # batches between two tests
LONGEST = 30  # times ours; then a recipe is given up


class Watch(keras.callbacks.Callback):
    """Test the network every few batches, with the clock stopped, and print a line of JSON.

    Args:
        test: what to test it on.
        seconds: end the training after so many, or when it reaches the figure.
    """

    def __init__(self, task: Task, test: common.Examples, seconds: float) -> None:
        super().__init__()
        self.task, self.test, self.seconds = task, test, seconds
        self.batches, self.testing = 0, 0.0
        self.out = sys.stdout

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.batches += 1
        if self.batches % INTERVAL:
            return
        stopped = time.perf_counter()
        seconds = stopped - self.start - self.testing
        logits = self.model.predict(self.test.x, batch_size=250, verbose=0)
        if self.task.figure == "accuracy":
            figure = float((logits.argmax(axis=-1) == self.test.y).mean())
        else:
            figure = ctc.error_rates(self.test.y, ctc.read_labels(logits))["label_error_rate"]
        print(json.dumps([seconds, figure]), file=self.out, flush=True)
        self.model.stop_training |= self.task.reached(figure) or seconds > self.seconds
        self.testing += time.perf_counter() - stopped


def load_test(task: Task) -> common.Examples:
    """Load the test digits, or strips of them, one array (n, 140, 28)."""
    _, test = digits.load_mnist()
    if task.figure == "accuracy":
        return test
    composed = strips.compose_strips(test, 5, 5, np.random.default_rng(2))
    return common.Examples(np.stack(list(composed.x[:STRIPS])), composed.y[:STRIPS])


def train_in_this_process(name: str, who: str, seconds: str) -> None:
    """Run a command of a task, ours or the recipe's, and end it when it reaches the figure."""
    task = TASKS[name]
    command = task.ours if who == "ours" else task.theirs + PLAIN
    watch = Watch(task, load_test(task), float(seconds))
    fit = keras.Model.fit

    def watched_fit(*positional, callbacks=(), **named):
        return fit(*positional, callbacks=[*callbacks, watch], **named)

    keras.Model.fit = watched_fit
    script, *arguments = command.split()
    module = importlib.import_module(Path(script).stem)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        sys.argv = [script, *arguments, "--output", folder]
        command_line.run(module.main, module.Config, module.__doc__)


def trained(name: str, who: str, seconds: float = float("inf")) -> list[tuple[float, float]]:
    """Train in a new process; return seconds and test figure of every test."""
    command = [sys.executable, __file__, name, who, str(seconds)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        sys.exit(ran.stderr)
    return [tuple(json.loads(line)) for line in ran.stdout.splitlines() if line.startswith("[")]


def seconds_to(task: Task, curve: list[tuple[float, float]]) -> float:
    """Return the seconds after which a curve first reaches the task's figure, or infinity."""
    return next((seconds for seconds, figure in curve if task.reached(figure)), float("inf"))


def draw(curves: dict[str, list[list[tuple[float, float]]]], path: Path) -> None:
    """Draw the test errors over the seconds: first curve ours, last the recipe's."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 4), layout="constrained")
    for axes, (name, (ours, *_, recipe)) in zip(figure.subplots(1, 3), curves.items(), strict=True):
        task = TASKS[name]
        for curve, style, label in (recipe, "C1-", task.recipe), (ours, "C0-", task.ours):
            seconds, figures = zip(*curve, strict=True)
            axes.plot(seconds, figures, style, label=label)
        axes.axhline(task.target, color="k", linestyle=":", linewidth=1)
        axes.set(xscale="log", xlabel="seconds of training", ylabel=f"test {task.figure}")
        axes.set_ylim((0.9, 1) if task.figure == "accuracy" else (0, 1))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1))  # above the curves
    figure.savefig(path, dpi=120)


def main() -> None:
    """Train all, print the table, draw the picture."""
    print(machine("keras", "tensorflow"))
    print("| until | recipe | seconds | at its end | ours | seconds | times faster |")
    print("|---|---|---|---|---|---|---|")
    curves = {}
    failed = False
    for name, task in TASKS.items():
        first = trained(name, "ours")
        recipe = trained(name, "recipe", LONGEST * seconds_to(task, first))
        curves[name] = [first, trained(name, "ours"), recipe]
        *ours, theirs = (seconds_to(task, curve) for curve in curves[name])
        at_least = ""
        if theirs == float("inf"):  # it ended, or was given up, before
            theirs, at_least = recipe[-1][0], "more than "
        ratio = theirs / (sum(ours) / len(ours))
        failed |= ratio < task.bar
        print(
            f"| {task.figure} {task.target:.2%} | {task.recipe} | {at_least}{theirs:.0f} | "
            f"{recipe[-1][1]:.2%} after {recipe[-1][0]:.0f} s | `python {task.ours}` | "
            f"{' and '.join(f'{s:.1f}' for s in ours)} | {at_least}{ratio:.1f} |",
            flush=True,
        )
    if len(sys.argv) > 1:
        draw(curves, Path(sys.argv[1]))
    sys.exit(failed)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        train_in_this_process(*sys.argv[1:])
    else:
        main()
