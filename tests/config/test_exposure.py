"""Secrets in files that everybody can read."""

from pathlib import Path

import pytest

from proxy_cli.config.exposure import exposed, inline_secrets
from proxy_cli.config.problem import Problem
from proxy_cli.config.source import parse, read


def written(folder: Path, source: str, mode: int) -> Path:
    path = folder / "c.yaml"
    path.write_text(source, encoding="utf-8")
    path.chmod(mode)
    return path


def warnings(path: Path) -> list[Problem]:
    found, _ = read(path)
    assert found is not None
    return exposed(found)


def secrets(source: str) -> list[tuple[str | int, ...]]:
    found, _ = parse(source.encode(), "c.yaml")
    assert found is not None
    return list(inline_secrets(found.values))


@pytest.mark.row("C-51")
def test_a_world_readable_file_with_secrets_is_a_warning(tmp_path):
    """One line for the file, at its first secret, with the command that cures it."""
    path = written(tmp_path, "a: 1\nmaster_key: sk-1234567890\nb: {api_key: abcdefgh}\n", 0o644)

    (problem,) = warnings(path)

    assert str(problem) == (
        f"{path}:2:13: warning: master_key: every user of this machine can read this file (mode 0644), "
        f"and it holds 2 secrets - chmod 600 {path}, or write os.environ/NAME in their place"
    )


@pytest.mark.row("C-51")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660])
def test_a_file_that_others_cannot_read_is_fine(tmp_path, mode):
    """The owner and the group may."""
    assert warnings(written(tmp_path, "master_key: sk-1234567890\n", mode)) == []


@pytest.mark.row("C-51")
def test_a_world_readable_file_without_secrets_is_fine(tmp_path):
    """Variables and placeholders are no secrets."""
    source = "api_key: os.environ/OPENAI_API_KEY\nmaster_key: None\nmax_tokens: 12345678\nmodel: openai/gpt-4o-mini\n"

    assert warnings(written(tmp_path, source, 0o644)) == []


def test_bytes_without_a_file_are_exposed_to_nobody():
    """There are no permissions to look at."""
    found, _ = parse(b"master_key: sk-1234567890\n", "c.yaml")

    assert found is not None
    assert exposed(found) == []


def test_the_command_that_cures_can_be_pasted(tmp_path):
    """A path with a blank is quoted for the shell."""
    folder = tmp_path / "my files"
    folder.mkdir()

    (problem,) = warnings(written(folder, "master_key: sk-1234567890\n", 0o604))

    assert f"chmod 600 '{folder}/c.yaml'" in problem.cure


@pytest.mark.parametrize(
    ("source", "paths"),
    [
        ("api_key: abcdefgh\n", [("api_key",)]),
        ("a: [{DB_PASSWORD: abcdefgh}]\n", [("a", 0, "DB_PASSWORD")]),
        ("keys:\n  - sk-1234567890\n", [("keys", 0)]),
        ("database_url: postgres://u:secret@h/db\n", [("database_url",)]),
        ("api_key: [abcdefgh]\n", [("api_key", 0)]),
        ("id: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b\n", []),
        ("api_key: ''\n", []),
    ],
)
def test_secrets_are_found_by_name_and_by_form(source, paths):
    """At any depth, and a hash that serves as a name is none."""
    assert secrets(source) == paths


@pytest.mark.row("C-59")
def test_the_warning_does_not_print_the_secret(tmp_path):
    """It says where, not what."""
    (problem,) = warnings(written(tmp_path, "api_key: hunter2-hunter2\n", 0o644))

    assert "hunter2" not in str(problem)
