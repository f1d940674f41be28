"""Files as LiteLLM's users have them load as they are: what is not supported yet is said, and nothing is refused."""

import re
from pathlib import Path

import pytest

from proxy_cli.config.load import load
from proxy_cli.config.problem import Severity

FILES = sorted((Path(__file__).parent / "litellm").glob("*.yaml"))
VALUES = {"DATABASE_URL": "postgresql://llm:secret@db:5432/llm"}


def environment_of(file: Path) -> dict[str, str]:
    """Every variable that a file, or a part of it, names; addresses look like addresses."""
    text = "".join(each.read_text("utf-8") for each in (file, *(file.parent / "parts").glob("*.yaml")))
    names = set(re.findall(r"os\.environ/(\w+)", text))
    plain = {name: "https://backend.example.com" if "BASE" in name or "URL" in name else "a1-b2-c3" for name in names}
    return {**plain, **{name: value for name, value in VALUES.items() if name in names}}


@pytest.mark.row("C-65")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_litellm_config_loads_with_warnings_only(file):
    """No file that LiteLLM takes is refused, and every key of it has a state."""
    environ = environment_of(file)

    loaded = load(file, environ)

    assert [str(each) for each in loaded.problems if each.severity is Severity.ERROR] == []
    assert loaded.config is not None
    assert loaded.config.model_list
    assert all(state.state for state in loaded.states)


@pytest.mark.row("C-65")
def test_settings_that_are_not_supported_yet_are_said():
    """A file full of later work warns of each kind of it."""
    file = Path(__file__).parent / "litellm" / "caching.yaml"

    loaded = load(file, environment_of(file))

    said = {each.path: each.message for each in loaded.problems}
    assert said["litellm_settings.cache"] == "known, not yet supported"
    assert "litellm_settings.cache_params" in said
    assert "use --debug" in said["litellm_settings.set_verbose"]
