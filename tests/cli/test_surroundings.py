"""Variables: the environment over `.env` over the saved keys, each with its source."""

import click
import pytest

from proxy_cli.cli import saved
from proxy_cli.cli.surroundings import gather


def test_surroundings_real_environment_wins_over_files(tmp_path):
    """The environment, then `.env`, then what was kept."""
    saved.keep_key(tmp_path, "A", "kept")
    saved.keep_key(tmp_path, "B", "kept")
    saved.keep_key(tmp_path, "C", "kept")
    (tmp_path / ".env").write_text("B=near\nC=near\n")

    around = gather({"LLMPROXY_CONFIG_DIR": str(tmp_path), "C": "real"}, tmp_path)

    assert {name: around.environ[name] for name in "ABC"} == {"A": "kept", "B": "near", "C": "real"}
    assert dict(around.sources) == {"A": str(tmp_path / "secrets.env"), "B": ".env"}
    assert around.notes == (f"read {tmp_path / '.env'}: B, C",)


def test_surroundings_read_the_variables_that_stand_for_options(tmp_path):
    """Also those that only a file sets."""
    (tmp_path / ".env").write_text("PORT=8080\n")

    assert gather({"LLMPROXY_CONFIG_DIR": str(tmp_path)}, tmp_path).variables.port == 8080


def test_surroundings_without_files_are_the_environment_and_quiet(tmp_path):
    """Nothing to say where nothing was read."""
    environ = {"LLMPROXY_CONFIG_DIR": str(tmp_path), "A": "1"}

    around = gather(environ, tmp_path)

    assert dict(around.environ) == environ
    assert around.notes == ()


def test_surroundings_of_production_leave_the_working_folder_out(tmp_path):
    """As LiteLLM: with LITELLM_MODE=PRODUCTION no `.env` is read."""
    (tmp_path / ".env").write_text("A=near\n")

    around = gather({"LLMPROXY_CONFIG_DIR": str(tmp_path), "LITELLM_MODE": "PRODUCTION"}, tmp_path)

    assert "A" not in around.environ


def test_surroundings_tell_the_place_of_a_broken_line(tmp_path):
    """File and line, and not the line itself: it may be a key."""
    (tmp_path / ".env").write_text("A=1\nsk-very-secret\n")

    with pytest.raises(click.UsageError, match=r"\.env:2:1: expected NAME=value") as caught:
        gather({"LLMPROXY_CONFIG_DIR": str(tmp_path)}, tmp_path)

    assert "very-secret" not in caught.value.message


def test_surroundings_warn_of_keys_that_others_may_read(tmp_path):
    """With the command that closes the file."""
    file = saved.keep_key(tmp_path, "A", "kept")
    file.chmod(0o644)

    around = gather({"LLMPROXY_CONFIG_DIR": str(tmp_path)}, tmp_path)

    assert around.notes == (f"{file} can be read by other users; close it: chmod 600 {file}",)
