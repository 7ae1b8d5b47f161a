"""What the pages say: commands are understood, links lead somewhere, figures are those measured."""

import importlib
import re
import shlex

import pytest
import tyro
from script_runs import ROOT

from tests.benchmarks import figures, time_to_accuracy

PAGES = [*figures.PAGES, ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md"]
LESSONS = sorted(ROOT.glob("docs/lesson_*.md"))
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def named(pattern):
    """What the documents name, each as its words."""
    texts = [document.read_text() for document in (*PAGES, *ROOT.glob("*.py"))]
    found = (name for text in texts for name in re.findall(pattern, text))
    return sorted({tuple(shlex.split(name, comments=True)) for name in found})


COMMANDS = named(r"python ([\w/]+\.py[^`|\n]*)")
OPTIONS = named(r"`(--[^`]+)`")  # without a script


def understands(script, arguments):
    config = importlib.import_module(script.removesuffix(".py").replace("/", ".")).Config
    try:
        tyro.cli(config, args=arguments, console_outputs=False)
    except SystemExit as exit:
        return exit.code == 0  # --help
    return True


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_are_understood(command):
    script, *arguments = command
    if script == "tests/benchmarks/accuracy.py":
        script, *arguments = arguments
    assert (ROOT / script).is_file()
    if "/" not in script or script == "data/make_sequences.py":
        assert understands(script, arguments)


@pytest.mark.parametrize("arguments", OPTIONS, ids=" ".join)
def test_options_are_understood_by_some_script(arguments):
    scripts = {path.name for path in ROOT.glob("*.py")} - {"common.py"}
    assert any(understands(script, arguments) for script in scripts)


def anchors(page):
    """What a link may name after `#`: the headings, as forges spell them there."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@by_page
def test_files_and_headings_that_a_page_links_to_exist(page):
    links = re.findall(r"\]\((?!http)([^)\s]+)\)", page.read_text())
    assert links or page.parent.name == "data"
    for link in links:
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_all_lessons_have_the_same_sections():
    headings = [re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE) for page in LESSONS]
    assert len(headings) == 4
    expected = ["The idea", "The formulas", "The network", "The settings", "The pictures"]
    expected += ["What to try", "Questions", "Results", "Sources"]
    for sections in headings:  # lesson 2 has one more
        assert [section for section in sections if section in expected] == expected


def test_the_readme_shows_results_and_commands_on_its_first_screen():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 220
    first = "\n".join(lines[:40])
    assert "](docs/reading.png)" in first
    assert len(re.findall(r"\| `python \w+\.py` \|", first)) == 4
    assert "&& python classic.py\n" in first
    assert "&& python -m pytest\n" in first


# -- figures that were measured ---------------------------------------------------------------


@by_page
def test_a_page_shows_the_figures_that_were_measured(page):
    text = page.read_text()
    assert text == figures.rendered(text), "python tests/benchmarks/all.py renders the pages"


def test_every_table_is_shown_once():
    shown = [name for page in PAGES for name, _ in figures.MARKED.findall(page.read_text())]
    assert sorted(shown) == figures.names()


def test_figures_of_other_settings_than_those_of_today_are_named():
    """Whether there are any is not asked here: defaults are for users to change."""
    stale = importlib.import_module("tests.benchmarks.all").stale
    command, seeds = "classic.py --units 7", [{"seed": seed} for seed in (0, 1, 2)]
    now = figures.settings(command)
    for settings, different in (now, []), (now | {"units": 8}, [f"{command}: units 8, now 7"]):
        measured = {"command": command, "settings": settings, "runs": seeds}
        assert stale({"rows": [measured]}) == different
        assert stale({"of": {command: settings}, "printed": ["| a table |"]}) == different
    assert stale({"rows": [measured | {"runs": []}]}) == [*different, "not all of it was measured"]


def test_the_time_to_accuracy_is_that_of_what_the_benchmark_trains():
    tasks = time_to_accuracy.TASKS.values()
    commands = [task.ours for task in tasks]
    commands += [task.theirs + time_to_accuracy.PLAIN for task in tasks]
    assert list(figures.load("time_to_accuracy")["of"]) == commands


@by_page
def test_the_figures_of_a_page_are_of_one_day_and_one_machine(page):
    tables = [figures.load(name) for name in figures.names()]
    of_the_page = [table for table in tables if table["page"] == page.stem]
    assert len({table["measured"] for table in of_the_page if "measured" in table}) <= 1


def test_the_list_of_files_names_every_room():
    page = (ROOT / "CONTRIBUTING.md").read_text()
    for path in [ROOT / "common.py", *ROOT.glob("support/[!_]*.py")]:
        assert f"]({path.relative_to(ROOT)})" in page
