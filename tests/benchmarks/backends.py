"""Train the four scripts with their default settings on TensorFlow and on JAX, in turns.

    pip install -r requirements-jax.txt
    python tests/benchmarks/backends.py [SCRIPT ...]

Prints a Markdown table of the test figures and of the seconds that training took.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from machine import machine

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = {  # with the figure that counts
    "classic.py": "test_accuracy",
    "seq_labelling.py": "test_label_error_rate",
    "variable_length_seq.py": "test_label_error_rate",
    "standardize.py --scaling standardized": "test_accuracy",
}
BACKENDS = "tensorflow", "jax"
MOST_APART = 0.002


def train(command: str, backend: str) -> dict[str, float]:
    """Run a script with seed 0; return what it wrote to metrics.json."""
    script, *arguments = command.split()
    printed = subprocess.run(
        [sys.executable, ROOT / script, *arguments, "--seed", "0"],
        env=os.environ | {"KERAS_BACKEND": backend},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    (folder,) = re.findall(r"^wrote (.+)$", printed, re.MULTILINE)
    return json.loads(Path(folder, "metrics.json").read_text())


def main() -> None:
    """Print the table; exit with code 1 if a figure of the two is more than 0.2 points apart."""
    names = sys.argv[1:]
    print(machine("keras", "tensorflow", "jax"))
    print("| script | figure | with TensorFlow | with JAX | seconds | with JAX | JAX takes |")
    print("|---|---|---|---|---|---|---|")
    apart = False
    for command, figure in SCRIPTS.items():
        if names and command.split()[0] not in names:
            continue
        runs = [train(command, backend) for backend in BACKENDS]
        figures = [run[figure] for run in runs]
        seconds = [run["training_seconds"] for run in runs]
        print(
            f"| `python {command}` | {figure.replace('_', ' ')} | "
            + " | ".join([f"{value:.2%}" for value in figures] + [f"{s:.0f} s" for s in seconds])
            + f" | {seconds[1] / seconds[0]:.2f} times |",
            flush=True,
        )
        apart |= abs(figures[0] - figures[1]) > MOST_APART
    sys.exit(apart)


if __name__ == "__main__":
    main()
