"""What the README says: its commands are understood by the scripts' own parsers."""

import importlib
import re
import shlex
from pathlib import Path

import common  # noqa: F401

import pytest
import tyro

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md"]
DOCUMENTS = [*PAGES, *sorted(ROOT.glob("*.py"))]


def commands():
    """Every `python SCRIPT ...` of the documents, with the script."""
    for document in DOCUMENTS:
        for command in re.findall(r"python ([\w/]+\.py[^`|\n]*)", document.read_text()):
            yield tuple(shlex.split(command, comments=True))


def options():
    """Every `--option value` that the documents name without a script."""
    for document in DOCUMENTS:
        for snippet in re.findall(r"`(--[^`]+)`", document.read_text()):
            yield tuple(shlex.split(snippet))


def understands(script, arguments):
    config = importlib.import_module(script.removesuffix(".py").replace("/", ".")).Config
    try:
        tyro.cli(config, args=arguments, console_outputs=False)
    except SystemExit as exit:
        return exit.code == 0  # --help
    return True


@pytest.mark.parametrize("command", sorted(set(commands())), ids=" ".join)
def test_commands_are_understood(command):
    script, *arguments = command
    if script == "tests/benchmarks/accuracy.py":
        script, *arguments = arguments
    assert (ROOT / script).is_file()
    if "/" not in script or script == "data/make_sequences.py":
        assert understands(script, arguments)


@pytest.mark.parametrize("arguments", sorted(set(options())), ids=" ".join)
def test_options_are_understood_by_some_script(arguments):
    scripts = {path.name for path in ROOT.glob("*.py")} - {"common.py"}
    assert any(understands(script, arguments) for script in scripts)


def test_there_are_commands_to_understand():
    assert len(set(commands())) >= 8


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_links_to_exist(page):
    links = re.findall(r"\]\(([\w./-]+)\)", page.read_text())
    assert links or page.parent.name == "data"
    for link in links:
        assert (page.parent / link).exists(), link


def test_the_list_of_files_names_every_room():
    page = (ROOT / "CONTRIBUTING.md").read_text()
    for path in [ROOT / "common.py", *ROOT.glob("support/[!_]*.py")]:
        assert f"]({path.relative_to(ROOT)})" in page
