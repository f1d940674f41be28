"""The documentation says what the program does: its tables are the program's own, and its examples are run."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from bench.__main__ import main as bench
from docs.generate import filled
from proxy_cli.cli import COMMANDS
from proxy_cli.cli.options import OPTIONS
from proxy_cli.server.admin_routes import joined
from proxy_cli.server.routes import ROUTES
from tests.conftest import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tables_are_those_of_the_program(page):
    """`make docs` would change nothing."""
    text = page.read_text("utf-8")

    assert filled(text) == text, "run `make docs`"


def test_every_code_of_an_error_is_explained():
    """Whatever `code` a failure of ours is given stands on the page of errors."""
    sources = [each for each in (ROOT / "proxy_cli").rglob("*.py") if each.parent.name not in {"mock", "cli"}]
    page = (ROOT / "docs" / "errors.md").read_text("utf-8")

    given = {code for each in sources for code in re.findall(r'\bcode="([a-z_]+)"', each.read_text("utf-8"))}

    assert given
    assert {code for code in given if f"`{code}`" not in page} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    """Every link to a file of ours finds it."""
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text("utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_options_that_a_page_names_exist(page):
    """An option in the text is one of the program's, of a command's, or of another program's command line."""
    known = {option.name for option in OPTIONS} | {"help", "version"} | options_of_commands()
    known |= {name.removeprefix("--") for parameter in bench.params for name in parameter.opts}
    others = {"add_host", "build", "rm", "require_hashes"}
    text = re.sub(r"```diff.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)

    named = {name.replace("-", "_") for name in re.findall(r"(?<![\w-])--([a-z][a-z0-9_-]+)", text)}

    assert named - known - others == set()


@cache
def options_of_commands() -> set[str]:
    """The options that only a command has, from its own help page."""
    found = set()
    for command in COMMANDS:
        run = subprocess.run(
            [sys.executable, "-m", "proxy_cli", command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        found |= {name.replace("-", "_") for name in re.findall(r"--([a-z][a-z0-9_-]+)", run.stdout)}
    return found


def test_every_option_of_the_help_page_is_documented():
    """What `llmproxy --help` lists stands in docs/options.md."""
    run = subprocess.run(
        [sys.executable, "-m", "proxy_cli", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    page = (ROOT / "docs" / "options.md").read_text("utf-8") + "`--help` `--version`"

    listed = set(re.findall(r"^ +(?:-\w, )?(--[a-z][a-z0-9_-]+)", run.stdout, re.MULTILINE))

    assert len(listed) > 30
    assert {option for option in listed if f"`{option}`" not in page} == set()


def test_every_path_is_documented():
    """What the server answers on stands in docs/endpoints.md, but for the prefixes and aliases that it describes."""
    page = (ROOT / "docs" / "endpoints.md").read_text("utf-8")

    paths = {f"`{route.method} {route.path_template}`" for route in joined(ROUTES) if not route.operation}

    assert {path for path in paths if path not in page} == set()


def yaml_blocks(page: Path) -> list[str]:
    """The configuration files that a page shows whole."""
    blocks = re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    return [block for block in blocks if "model_list:" in block]


@pytest.mark.parametrize("page", [page for page in PAGES if yaml_blocks(page)], ids=lambda page: page.stem)
def test_configurations_that_a_page_shows_pass_check(page, tmp_path):
    """A file copied out of the documentation is a valid one."""
    for block in yaml_blocks(page):
        file = tmp_path / "config.yaml"
        file.write_text(block, "utf-8")
        names = set(re.findall(r"os\.environ/(\w+)", block))
        run = subprocess.run(
            [sys.executable, "-m", "proxy_cli", "check", file],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), **dict.fromkeys(names, "sk-0123456789abcdefghij")},
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stdout + run.stderr


def test_the_mistake_that_the_documentation_shows_is_answered_so(tmp_path):
    """The sentence about a mistyped key is the program's, with its place."""
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    (shown,) = re.findall(r"^config\.yaml:.*$", page, re.MULTILINE)
    block, *_ = yaml_blocks(ROOT / "docs" / "configuration.md")
    head, _, rest = block.rpartition("model: ")
    (tmp_path / "config.yaml").write_text(f"{head}modle: {rest}", "utf-8")

    run = subprocess.run(
        [sys.executable, "-m", "proxy_cli", "check", "config.yaml"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "OPENAI_API_KEY": "x"},
        capture_output=True,
        text=True,
    )

    assert run.returncode == 2
    assert shown in run.stdout + run.stderr
