"""How much the scale of the input matters, for each optimizer and cell.

    python tests/benchmarks/scalings.py [PICTURE]

Trains 90 networks of 192 units, in half an hour to an hour: that of lesson 4 on each scaling with
every learning rate of RATES, one-cycle and seed 0. Chooses for each scaling the rate that ends with
the highest validation accuracy, so that no scaling suffers from a rate that suits another. Prints
the last accuracy at every rate, and a Markdown table of the accuracy after each epoch at the best
one, which it draws too.
"""

import csv
import itertools
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import machine
from matplotlib.figure import Figure

ROOT = Path(__file__).parent.parent.parent
SCALINGS = "raw", "unit", "standardized"
CELLS = "GRU", "SimpleRNN"
RATES = {
    "SGD": (0.1, 0.3, 1.0, 3.0, 10.0),
    "Adam": (0.0003, 0.001, 0.003, 0.01, 0.03),
    "Muon": (0.0003, 0.001, 0.003, 0.01, 0.03),
}
UNITS, EPOCHS = 192, 3
TICKS = 0.5, 0.7, 0.9, 0.97, 0.99

Curve = list[float]  # the validation accuracy after each epoch


def train(scaling: str, optimizer: str, cell: str, rate: float) -> Curve:
    """Train one network; a training whose loss becomes infinite has no right answers."""
    settings = {
        "scaling": scaling,
        "optimizer": optimizer,
        "cell": cell,
        "learning-rate": rate,
        "units": UNITS,
        "epochs": EPOCHS,
    }
    with tempfile.TemporaryDirectory() as output:
        options = [f"--{name}={value}" for name, value in {**settings, "output": output}.items()]
        command = [sys.executable, ROOT / "standardize.py", *options]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode == 1 and "the loss became" in ran.stderr:
            return [0.0] * EPOCHS
        if ran.returncode:
            sys.exit(ran.stderr)
        (history,) = Path(output).glob("*/*/*/history.csv")
        with history.open(newline="") as file:
            return [float(row["val_accuracy"]) for row in csv.DictReader(file)]


def draw(best: dict[tuple[str, str, str], Curve], path: Path) -> None:
    """Draw a panel for each cell and optimizer, in it a curve for each scaling."""
    figure = Figure(figsize=(3.6 * len(RATES), 3.2 * len(CELLS)), layout="constrained")
    panels = figure.subplots(len(CELLS), len(RATES), sharex=True, sharey=True)
    for panel, (cell, optimizer) in zip(panels.flat, itertools.product(CELLS, RATES), strict=True):
        for scaling in SCALINGS:
            panel.plot(range(1, EPOCHS + 1), best[cell, optimizer, scaling], "o-", label=scaling)
        # A logit scale: from 0.9 to 0.99 is as far as from 0.5 to 0.9.
        panel.set(title=f"{cell}, {optimizer}", yscale="logit", xticks=range(1, EPOCHS + 1))
        panel.set_yticks(TICKS, labels=map(str, TICKS))
        panel.tick_params(which="minor", labelleft=False)
        panel.set_ylim(0.4, 0.995)
        panel.grid(alpha=0.3)
    for panel in panels[:, 0]:
        panel.set_ylabel("validation accuracy")
    for panel in panels[-1]:
        panel.set_xlabel("epoch")
    panels[0, 0].legend(loc="lower right")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Train all, print the tables, draw the picture."""
    print(machine("keras", "tensorflow"))
    best, rows = {}, []
    for cell, optimizer, scaling in itertools.product(CELLS, RATES, SCALINGS):
        curves = {rate: train(scaling, optimizer, cell, rate) for rate in RATES[optimizer]}
        rate = max(curves, key=lambda rate: curves[rate][-1])
        best[cell, optimizer, scaling] = curves[rate]
        name = f"{cell} | {optimizer} | {scaling}"
        epochs = " | ".join(f"{accuracy:.2%}" for accuracy in curves[rate])
        rows.append(f"| {name} | {rate} | {epochs} |")
        rates = ", ".join(f"{rate}: {curve[-1]:.2%}" for rate, curve in curves.items())
        print(f"{name} | {rates}", flush=True)
    epochs = " | ".join(f"epoch {epoch}" for epoch in range(1, EPOCHS + 1))
    print(f"\n| cell | optimizer | scaling | best rate | {epochs} |\n|{'---|' * (4 + EPOCHS)}")
    print("\n".join(rows))
    for picture in sys.argv[1:]:
        draw(best, Path(picture))
        print(f"\nwrote {picture}")


if __name__ == "__main__":
    main()
