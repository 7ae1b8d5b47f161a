"""Train the four scripts with their default settings on TensorFlow and on JAX, in turns.

    pip install -r requirements-jax.txt
    python tests/benchmarks/backends.py [SCRIPT ...]

Prints a Markdown table of the test figures and of the seconds that training took.
"""

import sys
from importlib.metadata import version

from accuracy import train
from machine import machine

SCRIPTS = {  # with the figure that counts
    "classic.py": "test_accuracy",
    "seq_labelling.py": "test_label_error_rate",
    "variable_length_seq.py": "test_label_error_rate",
    "standardize.py --scaling standardized": "test_accuracy",
}
BACKENDS = "tensorflow", "jax"
MOST_APART = 0.002


def main() -> None:
    """Print the table; exit with code 1 if the two differ by more than 0.2 percentage points."""
    names = sys.argv[1:]
    print(machine("keras", "tensorflow", "jax"))
    heads = ["command", "figure", *(f"{name} {version(name)}" for name in BACKENDS)]
    heads += ["seconds: TensorFlow", "seconds: JAX", "JAX takes"]
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    apart = False
    for command, figure in SCRIPTS.items():
        script, *arguments = command.split()
        if names and script not in names:
            continue
        runs = [
            metrics
            for backend in BACKENDS
            for metrics in train(script, arguments, seed=0, KERAS_BACKEND=backend).values()
        ]
        figures = [run[figure] for run in runs]
        seconds = [run["training_seconds"] for run in runs]
        print(
            f"| `python {command}` | {figure.replace('_', ' ')} | "
            + " | ".join([f"{value:.2%}" for value in figures] + [f"{s:.0f}" for s in seconds])
            + f" | {seconds[1] / seconds[0]:.2f} times |",
            flush=True,
        )
        apart |= abs(figures[0] - figures[1]) > MOST_APART
    sys.exit(apart)


if __name__ == "__main__":
    main()
