"""The figures of the pages: how a table is made from what all.py measured.

docs/figures/NAME.json says what a table shows, and holds what was measured: runs of commands, or
what a benchmark printed, with the settings of the commands that it is about. A table stands in its
page between two marks, `<!-- figures: NAME -->` and `<!-- end of figures -->`. One that all.py does
not measure, because it needs another machine, names under "by" the command that does.
"""

import importlib
import json
import re
import shlex
import statistics
from collections.abc import Callable
from pathlib import Path

import common

import tyro

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "docs" / "figures"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MARKED = re.compile(r"(?<=<!-- figures: )(\w+)( -->\n).*?(?=<!-- end of figures -->)", re.DOTALL)


def spread(values: list[float]) -> str:
    """Write the mean and standard deviation of shares, in percent."""
    return f"{100 * statistics.mean(values):.2f} ± {100 * statistics.stdev(values):.2f}%"


def percent(values: list[float]) -> str:
    """Write the mean and standard deviation of shares, and each of them, in percent."""
    return f"{spread(values)} ({', '.join(f'{100 * value:.2f}' for value in values)})"


def from_to(values: list[float]) -> str:
    """Write the smallest and the largest of some numbers, rounded."""
    numbers = [f"{value:.0f}" for value in (min(values), max(values))]
    return " to ".join(dict.fromkeys(numbers))


def each(values: list[int | None]) -> str:
    """Write each of the numbers; None is "never"."""
    return ", ".join("never" if value is None else str(value) for value in values)


# The figures of metrics.json: heading of a column, how its values are written.
COLUMNS: dict[str, tuple[str, Callable[[list], str]]] = {
    "test_accuracy": ("test accuracy", percent),
    "test_label_error_rate": ("label error rate", percent),
    "test_beam_label_error_rate": ("the same, beam search", percent),
    "test_sequence_accuracy": ("sequence accuracy", percent),
    "epochs_to_0.97": ("epochs to 97%", each),
    "epochs_to_0.985": ("epochs to 98.5%", each),
    "training_seconds": ("seconds", from_to),
}


def value_of(metrics: dict[str, float | None], figure: str) -> float | None:
    """Return a figure of metrics.json; the sequence accuracy is 1 minus the error rate."""
    if figure == "test_sequence_accuracy":
        return 1 - metrics["test_sequence_error_rate"]
    return metrics[figure]


def settings(command: str) -> dict:
    """Return the settings that make a run of a command what it is, without its paths and seed."""
    script, *arguments = shlex.split(command)
    module = importlib.import_module(script.removesuffix(".py"))
    config = tyro.cli(module.Config, args=arguments)
    config = common.with_learning_rate(config, module.LEARNING_RATES)
    return {
        name: value
        for name, value in config.of_the_run().items()
        if name not in ("data", "data_sha256", "output", "start_from", "seed")
    }


def load(name: str) -> dict:
    """Load a table."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def dumped(value: object, depth: int = 0) -> str:
    """Write a table as JSON, a line for each run and for the settings of each command."""
    if not isinstance(value, dict | list) or (depth > 1 and "[" not in json.dumps(value)):
        return json.dumps(value)
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    key = (lambda name: f"{json.dumps(name)}: ") if isinstance(value, dict) else (lambda name: "")
    inner = ",\n".join(" " * (depth + 1) + key(name) + dumped(v, depth + 1) for name, v in pairs)
    start, end = "{}" if isinstance(value, dict) else "[]"
    return f"{start}\n{inner}\n{' ' * depth}{end}"


def names() -> list[str]:
    """Name all tables."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def render(name: str) -> str:
    """Make Markdown of a table: when and where it was measured, then a line for each row."""
    table = load(name)
    if "overview" in table:
        return overview(table)
    command = table.get("by", f"python tests/benchmarks/all.py {table['page']}")
    lines = [f"Measured on {table['measured']} (`{command}`):", ""]
    if "printed" in table:
        return "\n".join([*lines, *table["printed"], ""])
    columns = [COLUMNS[figure] for figure in table["figures"]]
    heads = [table["head"], *(head for head, _ in columns), "command"]
    lines += [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in table["rows"]:
        cells = [
            write([value_of(run["metrics"], figure) for run in row["runs"]])
            for figure, (_, write) in zip(table["figures"], columns, strict=True)
        ]
        lines.append(f"| {' | '.join([row['label'], *cells])} | `python {row['command']}` |")
    return "\n".join([*lines, ""])


def overview(table: dict) -> str:
    """Make Markdown of the table of all lessons, whose figures are those of other tables."""
    heads = "lesson", "you learn", "it reaches", "others reach", "seconds of training", "command"
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in table["overview"]:
        runs = {other["command"]: other["runs"] for other in load(row["table"])["rows"]}
        reached = "; ".join(
            f"{spread([value_of(run['metrics'], figure) for run in runs[row['row']]])} {of}"
            for figure, of in row["reached"].items()
        )
        seconds = sum(
            statistics.mean(run["metrics"]["training_seconds"] for run in runs[trained])
            for trained in row["trained"]
        )
        lines.append(
            f"| {row['lesson']} | {row['learn']} | {reached} | {row['others']} | {seconds:.0f} | "
            f"`python {row['command']}` |"
        )
    return "\n".join([*lines, ""])


def complete(name: str) -> bool:
    """Tell whether every row of a table, and of those that it takes figures from, was measured."""
    table = load(name)
    if "overview" in table:
        return all(complete(row["table"]) for row in table["overview"])
    return bool(
        table["printed"] if "printed" in table else all(row["runs"] for row in table["rows"])
    )


def rendered(page: str) -> str:
    """Put into the text of a page the tables that its marks name, if they were measured."""
    return MARKED.sub(
        lambda mark: f"{mark[1]}{mark[2]}{render(mark[1])}" if complete(mark[1]) else mark[0], page
    )
