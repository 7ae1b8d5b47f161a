"""Measure the figures of a page again, one run after the other, and write them into it.

    python tests/benchmarks/all.py lesson_1 [--again]

What a page shows stands in docs/figures: each table that names the page is measured, in all its
rows, with the seeds 0, 1 and 2. Runs that are already there are kept, so that a measuring that was
interrupted goes on; --again begins anew, as one has to on another day or machine. Let the machine
do nothing else meanwhile.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import common

import accuracy
import figures
from accuracy import ROOT, SEEDS
from machine import machine


def train(command: str, seed: int) -> dict[str, float | None]:
    """Run a command, which trains one network, with a seed; return its metrics."""
    script, *arguments = command.split()
    with tempfile.TemporaryDirectory() as output:
        runs = accuracy.train(script, [*arguments, "--output", output], seed)
    (metrics,) = runs.values()
    return metrics


def printed(command: str) -> list[str]:
    """Run a benchmark; return the lines that it prints below that of machine.py.

    Its exit code is 1 if a figure is not as good as it shall be, which the table says too.
    """
    run = [sys.executable, *command.split()]
    ran = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    if ran.returncode and ran.stderr:
        sys.exit(ran.stderr)
    return ran.stdout.strip().splitlines()[2:]


def save(name: str, table: dict) -> None:
    """Write a table."""
    with common.written_beside(figures.FOLDER / f"{name}.json") as path:
        path.write_text(json.dumps(table, indent=1) + "\n")


def missing(table: dict, again: bool) -> list[tuple[dict, int]]:
    """List the rows and seeds of a table that have to be trained; drop what is out of date."""
    for row in table["rows"]:
        before, row["settings"] = row.get("settings"), figures.settings(row["command"])
        if again or row["settings"] != before:
            row["runs"] = []
    return [
        (row, seed)
        for row in table["rows"]
        for seed in SEEDS
        if seed not in [run["seed"] for run in row["runs"]]
    ]


def measure(name: str, again: bool) -> None:
    """Measure what is missing of a table, and save it after every run."""
    table, here = figures.load(name), machine("keras", "tensorflow").strip()
    if "overview" in table:  # its figures are those of the lessons
        return
    if "printed" in table:
        if again or not table["printed"]:
            print(f"{name}: python {table['command']}", flush=True)
            save(name, table | {"measured": here, "printed": printed(table["command"])})
        return
    todo = missing(table, again)
    if todo and any(row["runs"] for row in table["rows"]) and table["measured"] != here:
        sys.exit(f"{name} was measured {table['measured']}, this is {here}: give --again")
    seconds = []
    for number, (row, seed) in enumerate(todo, start=1):
        left = f", about {(len(todo) - number + 1) * max(seconds) / 60:.0f} min" if seconds else ""
        print(f"{name}, {number} of {len(todo)}{left}: {row['command']}, seed {seed}", flush=True)
        start = time.perf_counter()
        row["runs"].append({"seed": seed, "metrics": train(row["command"], seed)})
        seconds.append(time.perf_counter() - start)
        save(name, table | {"measured": here})


def main() -> None:
    """Measure the tables of a page, then render every page that shows one of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", help="such as lesson_1, of which the file is docs/lesson_1.md")
    parser.add_argument("--again", action="store_true", help="measure also what is there already")
    asked = parser.parse_args()
    names = [name for name in figures.names() if figures.load(name)["page"] == asked.page]
    if not names:
        parser.error(f"no table in {figures.FOLDER} is of the page {asked.page}")
    for name in names:
        measure(name, asked.again)
    for page in figures.PAGES:
        text = page.read_text()
        if figures.rendered(text) != text:
            with common.written_beside(page) as path:
                path.write_text(figures.rendered(text))
            print(f"wrote {page}")


if __name__ == "__main__":
    main()
