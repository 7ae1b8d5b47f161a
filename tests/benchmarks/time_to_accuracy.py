"""How long published recipes take to reach their own test figure, and how long these scripts take.

    python tests/benchmarks/time_to_accuracy.py [PICTURE [TASK ...]]

The recipes are settings of the scripts. With each seed of a task, ours and the recipe train in
turns, because a machine's speed changes, and each in a process of its own. The clock runs during
training alone, compilation included, and stands still while the network is tested. Prints a
Markdown table, and draws the test figures over the seconds.
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
    """A published recipe, the test figure that it reached, and our command to compare with it."""

    recipe: str
    theirs: str  # the recipe as a command, but for "python"
    figure: str
    target: float
    ours: str
    seeds: tuple[int, ...]

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
        ours="classic.py --units 96 --epochs 2 --batch-size 128 --distortion 0 --shift 0 "
        "--warmup 0.15",
        seeds=(0, 1, 2),
    ),
    "simple_rnn": Task(
        recipe="SimpleRNN 256, dropout 0.2, SGD 0.01, batch 128, 20 epochs",
        theirs="classic.py --cell SimpleRNN --units 256 --dropout 0.2 --optimizer SGD "
        "--learning-rate 0.01 --epochs 20 --batch-size 128",
        figure="accuracy",
        target=0.975,
        ours="classic.py --cell SimpleRNN --epochs 2",
        seeds=(0, 1, 2),
    ),
    "ctc": Task(
        recipe="3 x bidirectional LSTM 128, CTC, Adam 0.0001, batch 32",
        theirs="seq_labelling.py --cell LSTM --depth 3 --columns 1 "
        "--optimizer Adam --learning-rate 0.0001 --batch-size 32 --epochs 1000",
        figure="label error rate",
        target=0.05,
        ours="seq_labelling.py --epochs 2 --learning-rate 0.006",
        seeds=(0,),  # the recipe takes ten minutes, and more
    ),
}
Curve = list[tuple[float, float]]  # seconds of training, and the test figure then

PLAIN = " --schedule constant --clip-norm None --distortion 0 --shift 0"  # as all recipes are
STRIPS = 500  # to test on
INTERVAL = 43  # batches between two tests
LONGEST = 45  # times as long as ours, after which a recipe is given up


class Watch(keras.callbacks.Callback):
    """Test the network every few batches, with the clock stopped, and print a line of JSON.

    Args:
        task: whose figure the network is to reach.
        test: what to test it on.
        seconds: after these, or when it reaches the figure, the training ends.
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
            figure = float(ctc.LabelErrorRate()(self.test.y, logits))
        print(json.dumps([seconds, figure]), file=self.out, flush=True)
        self.model.stop_training |= self.task.reached(figure) or seconds > self.seconds
        self.testing += time.perf_counter() - stopped


def load_test(task: Task) -> common.Examples:
    """Load the test digits, images (n, 28, 28), or strips of them, (n, 140, 28)."""
    _, test = digits.load_mnist()
    if task.figure == "accuracy":
        return test
    composed = strips.compose_strips(test, 5, 5, np.random.default_rng(2))
    return common.Examples(np.stack(list(composed.x[:STRIPS])), composed.y[:STRIPS])


def train_in_this_process(name: str, who: str, seed: str, seconds: str) -> None:
    """Run a command of a task, ours or the recipe's, until it reaches the figure or time is up."""
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
        sys.argv = [script, *arguments, "--output", folder, "--seed", seed]
        command_line.run(module.main, module.Config, module.__doc__)


def trained(name: str, who: str, seed: int, seconds: float = float("inf")) -> Curve:
    """Train in a new process; return the seconds and the figure of every test."""
    command = [sys.executable, __file__, "--train", name, who, str(seed), str(seconds)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        sys.exit(ran.stderr)
    return [tuple(json.loads(line)) for line in ran.stdout.splitlines() if line.startswith("[")]


def seconds_to(task: Task, curve: Curve) -> float:
    """Return the seconds after which a curve first reaches the task's figure, or infinity."""
    return next((seconds for seconds, figure in curve if task.reached(figure)), float("inf"))


def said(task: Task, curves: list[Curve]) -> str:
    """Say for each curve when it reached the figure, or with which figure it ended."""
    return ", ".join(
        f"{seconds_to(task, curve):.0f}"
        if task.reached(curve[-1][1])
        else f"never ({curve[-1][1]:.2%} after {curve[-1][0]:.0f})"
        for curve in curves
    )


def draw(races: dict[str, tuple[list[Curve], list[Curve]]], path: Path) -> None:
    """Draw the test figures over the seconds: ours, and the recipe's, a curve for each seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 4), layout="constrained")
    panels = figure.subplots(1, len(races), squeeze=False)[0]
    for axes, (name, (ours, recipe)) in zip(panels, races.items(), strict=True):
        task = TASKS[name]
        for curves, colour, label in (recipe, "C1", "the recipe"), (ours, "C0", "ours"):
            for number, curve in enumerate(curves):
                seconds, figures = zip(*curve, strict=True)
                axes.plot(seconds, figures, colour, label=label if number == 0 else None)
        axes.axhline(task.target, color="k", linestyle=":", linewidth=1)
        axes.set(xscale="log", xlabel="seconds of training", ylabel=f"test {task.figure}")
        axes.set_ylim((0.9, 1) if task.figure == "accuracy" else (0, 1))
        axes.grid(alpha=0.3)
        axes.set_title(task.recipe, fontsize=9)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def race(name: str) -> tuple[list[Curve], list[Curve]]:
    """Train ours and the recipe with every seed, in turns; return the curves of both.

    A recipe that takes more than LONGEST times as long as ours is given up.
    """
    task, ours, recipe = TASKS[name], [], []
    for seed in task.seeds:
        ours.append(trained(name, "ours", seed))
        recipe.append(trained(name, "recipe", seed, LONGEST * seconds_to(task, ours[-1])))
    return ours, recipe


def main(picture: str | None = None, *names: str) -> None:
    """Train all, print the table, and draw the picture if its path is given."""
    print(machine("keras", "tensorflow"))
    print("| until | recipe | seconds | ours | seconds | times faster |")
    print("|---|---|---|---|---|---|")
    races = {}
    for name in names or TASKS:
        task = TASKS[name]
        ours, recipe = races[name] = race(name)
        # A recipe that does not reach the figure counts with all its seconds.
        theirs = sum(min(seconds_to(task, curve), curve[-1][0]) for curve in recipe)
        ratio = theirs / sum(seconds_to(task, curve) for curve in ours)
        never = any(not task.reached(curve[-1][1]) for curve in recipe)
        print(
            f"| {task.figure} {task.target:.2%} | {task.recipe} | {said(task, recipe)} | "
            f"`python {task.ours}` | {said(task, ours)} | "
            f"{'more than ' if never else ''}{ratio:.1f} |",
            flush=True,
        )
    if picture:
        draw(races, Path(picture))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--train"]:
        train_in_this_process(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
