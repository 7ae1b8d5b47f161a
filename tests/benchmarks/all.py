"""Measure the figures of a page that are missing or out of date, and write them into the page.

    python tests/benchmarks/all.py lesson_1 [--again]
    python tests/benchmarks/all.py --check

What a page shows stands in docs/figures: each table that names the page is measured, in all its
rows, with the seeds 0, 1 and 2, one run after the other. Runs that are already there are kept, so
that a measurement that was interrupted goes on; --again forgets them first. That is needed on
another day or machine, because all figures of a page are of one day and one machine. Let the
machine do nothing else meanwhile.

--check measures nothing. It names each table whose figures are not those of today's settings,
changed defaults included, and the settings in which they differ; its exit code is 1 if there is
such a table. Tables of a GPU are left out.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import common

import figures
from accuracy import ROOT, SEEDS, trained
from machine import machine

HERE = machine("keras", "tensorflow").strip()  # with the day on which the measuring began


def train(command: str, seed: int) -> dict[str, float | None]:
    """Run a command, which trains one network, with a seed; return its metrics."""
    with trained(command, seed) as network:
        return json.loads(network.with_name("metrics.json").read_text())


def printed(command: str) -> list[str]:
    """Run a benchmark; return the lines that it prints below that of machine.py.

    Its exit code is 1 also if a figure is not as good as it should be, which the table shows too.
    """
    run = [sys.executable, *command.split()]
    ran = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    if ran.returncode and ran.stderr:
        sys.exit(ran.stderr)
    return ran.stdout.strip().splitlines()[2:]


def save(name: str, table: dict) -> None:
    """Write a table."""
    with common.written_beside(figures.FOLDER / f"{name}.json") as path:
        path.write_text(figures.dumped(table) + "\n")


def up_to_date(table: dict, again: bool) -> dict:
    """Return a table with today's settings, without what was measured with others."""
    if "printed" in table:
        settings = {command: figures.settings(command) for command in table["of"]}
        kept = [] if again or settings != table["of"] else table["printed"]
        return table | {"of": settings, "printed": kept}
    rows = []
    for row in table.get("rows", []):  # the overview has none: its figures are of other tables
        settings = figures.settings(row["command"])
        kept = [] if again or settings != row.get("settings") else row["runs"]
        rows.append(row | {"settings": settings, "runs": kept})
    return table | {"rows": rows}


def missing(table: dict) -> list[tuple[dict, int]]:
    """List the rows and seeds of a table that have to be trained."""
    return [
        (row, seed)
        for row in table.get("rows", [])
        for seed in SEEDS
        if seed not in [run["seed"] for run in row["runs"]]
    ]


def is_complete(table: dict) -> bool:
    """Tell whether nothing of a table is missing."""
    return bool(table["printed"]) if "printed" in table else not missing(table)


def has_figures(table: dict) -> bool:
    """Tell whether anything of a table was measured."""
    return bool(table.get("printed")) or any(row["runs"] for row in table.get("rows", []))


def by_command(table: dict) -> dict[str, dict]:
    """Return the settings with which each command of a table was measured."""
    if "printed" in table:
        return table["of"]
    return {row["command"]: row.get("settings", {}) for row in table.get("rows", [])}


def stale(table: dict) -> list[str]:
    """Say, for each command of a table, which settings have changed since it was measured."""
    measured, today = by_command(table), by_command(up_to_date(table, again=False))
    lines = []
    for command, before in measured.items():
        now = today[command]
        names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        if names:
            changes = [f"{name} {before.get(name)}, now {now.get(name)}" for name in names]
            lines.append(f"{command}: {', '.join(changes)}")
    return lines if is_complete(table) else [*lines, "not all of it was measured"]


def check() -> int:
    """Print a line for each stale table; return how many there are."""
    count = 0
    for name in figures.names():
        table = figures.load(name)
        if "by" not in table and (lines := stale(table)):
            count += 1
            print(f"{name}, of the page {table['page']}: {'; '.join(lines)}")
    return count


def measure(name: str, table: dict) -> None:
    """Measure what is missing of a table, and save it after every run."""
    if "printed" in table:
        print(f"{name}: python {table['command']}", flush=True)
        save(name, table | {"measured": HERE, "printed": printed(table["command"])})
        return
    todo = missing(table)
    for number, (row, seed) in enumerate(todo, start=1):
        print(f"{name}, {number} of {len(todo)}: {row['command']}, seed {seed}", flush=True)
        row["runs"].append({"seed": seed, "metrics": train(row["command"], seed)})
        save(name, table | {"measured": HERE})


def measure_page(names: list[str], again: bool) -> None:
    """Measure what is missing of the tables of a page, all on one day and one machine."""
    tables = {name: up_to_date(figures.load(name), again) for name in names}
    todo = {name: table for name, table in tables.items() if not is_complete(table)}
    other = {table["measured"] for table in tables.values() if has_figures(table)} - {HERE}
    if todo and other:
        sys.exit(f"measured {' and '.join(sorted(other))}; this is {HERE}: give --again")
    for name, table in todo.items():
        save(name, table)  # what is out of date is gone, even if this is interrupted
    for name, table in todo.items():
        measure(name, table)


def main() -> None:
    """Measure the tables of a page, then render every page that shows one of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", nargs="?", help="page to measure: lesson_1 is docs/lesson_1.md")
    parser.add_argument("--again", action="store_true", help="first forget the earlier figures")
    parser.add_argument("--check", action="store_true", help="only name the outdated tables")
    asked = parser.parse_args()
    if asked.check:
        sys.exit(1 if check() else 0)
    names = [
        name
        for name in figures.names()
        if figures.load(name)["page"] == asked.page and "by" not in figures.load(name)
    ]
    if not names:
        parser.error(f"no table in {figures.FOLDER} is of the page {asked.page}")
    measure_page(names, asked.again)
    for page in figures.PAGES:
        text = page.read_text()
        if figures.rendered(text) != text:
            with common.written_beside(page) as path:
                path.write_text(figures.rendered(text))
            print(f"wrote {page}")


if __name__ == "__main__":
    main()
