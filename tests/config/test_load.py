"""From a file to a configuration: everything at once, with places that lead back to the file."""

import json

import pytest

from proxy_cli.config.load import load
from proxy_cli.config.problem import Severity
from proxy_cli.config.state import State

GOOD = """\
model_list:
  - model_name: fast
    litellm_params:
      model: openai/fast
      api_base: http://localhost:8000/v1
      api_key: os.environ/KEY
      itpm: 2000
    model_info: {id: one, team: blue}
litellm_settings:
router_settings:
  model_group_alias: {quick: fast, hushed: {model: fast, hidden: true}}
environment_variables:
  EXTRA: 5
"""


def write(folder, text, name="config.yaml"):
    """A file that only its owner reads."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    file.chmod(0o600)
    return file


def test_a_good_file_becomes_a_configuration(tmp_path):
    """Values have their types, variables are replaced, and an empty section is no error."""
    loaded = load(write(tmp_path, GOOD), {"KEY": "secret-of-mine"})

    config = loaded.config
    assert config is not None
    params = config.model_list[0].litellm_params
    assert (params.model, params.base) == ("openai/fast", "http://localhost:8000/v1")
    assert params.api_key is not None
    assert params.api_key.reveal() == "secret-of-mine"
    assert config.model_list[0].model_info.public() == {"id": "one", "team": "blue"}
    assert config.router_settings.model_group_alias["quick"].model == "fast"
    assert config.router_settings.model_group_alias["hushed"].hidden
    assert loaded.environ == {"KEY": "secret-of-mine", "EXTRA": "5"}


def test_every_key_of_a_file_has_a_state_and_a_place(tmp_path):
    """Nothing is passed over: used, kept, or not yet supported and why."""
    loaded = load(write(tmp_path, GOOD), {"KEY": "secret-of-mine"})

    states = {state.path: state for state in loaded.states}
    assert states["model_list[0].litellm_params.api_key"].state is State.USED
    assert states["model_list[0].litellm_params.itpm"].state is State.LATER
    assert states["model_list[0].litellm_params.itpm"].place.line == 7
    assert "kept" in states["model_list[0].model_info.team"].why
    assert "router_settings.model_group_alias.hushed.hidden" in states


def test_other_rooms_report_with_the_same_places(tmp_path):
    """A path of the configuration leads back to its line and column."""
    loaded = load(write(tmp_path, GOOD), {"KEY": "secret-of-mine"})

    problem = loaded.problem(("model_list", 0, "litellm_params", "model"), "no such provider", "name another")

    assert str(problem).endswith(
        "config.yaml:4:14: model_list[0].litellm_params.model: no such provider - name another"
    )
    assert loaded.key_place(("model_list", 0, "litellm_params", "model")).column == 7


def test_a_json_file_loads_the_same_way(tmp_path):
    """JSON is YAML."""
    text = json.dumps({"model_list": [{"model_name": "a", "litellm_params": {"model": "openai/a", "timeout": 3}}]})

    loaded = load(write(tmp_path, text, "config.json"), {})

    assert loaded.problems == []
    assert loaded.config is not None
    assert loaded.config.model_list[0].litellm_params.timeout == 3.0


def test_a_file_that_is_not_there_is_one_problem(tmp_path):
    """Without a document there is no configuration and no traceback."""
    loaded = load(tmp_path / "nope.yaml", {"A": "b"})

    assert loaded.config is None
    assert len(loaded.problems) == 1
    assert loaded.states == []
    assert loaded.environ == {"A": "b"}


def test_problems_are_sorted_and_of_all_kinds_at_once(tmp_path):
    """The file's own slips, types, unknown keys, variables and references come together, by place."""
    text = """\
    model_list:
      - model_name: fast
        model_name: fast
        litellm_params: {model: openai/a, timeout: no, api_key: os.environ/NOPE, modle: x}
    router_settings: {fallbacks: [{fast: [fst]}]}
    """

    loaded = load(write(tmp_path, text), {})

    errors = [each for each in loaded.problems if each.severity is Severity.ERROR]
    assert [each.place.line for each in errors] == [3, 4, 4, 4, 5]
    assert sorted(loaded.problems) == loaded.problems


def test_every_error_has_a_cure(tmp_path):
    """Whatever stands where something else was meant."""
    text = """\
    model_list:
      - {model_name: [a], litellm_params: {model: {b: c}, rpm: ten, drop_params: 5, api_key: [x], timeout: yes, n: }}
      - hello
    general_settings: [a]
    environment_variables: {A: [b]}
    credential_list: [{credential_name: a}]
    include: 5
    """

    loaded = load(write(tmp_path, text), {})

    errors = [each for each in loaded.problems if each.severity is Severity.ERROR]
    assert len(errors) == 11
    assert [str(each) for each in errors if not each.cure] == []


def test_names_served_beside_the_file_may_be_referred_to(tmp_path):
    """An alias for a model of the command line leads somewhere."""
    file = write(tmp_path, "router_settings: {model_group_alias: {a: outside}}\n")

    assert load(file, {}).config is None
    assert load(file, {}, public_names=["outside"]).config is not None


def test_a_file_without_models_is_warned_of(tmp_path):
    """A proxy without models starts, and says so."""
    loaded = load(write(tmp_path, "general_settings: {}\n"), {})

    assert loaded.config is not None
    assert "there is no model to serve" in str(loaded.problems[0])


@pytest.mark.row("C-51")
def test_a_file_that_all_may_read_is_warned_of_when_it_holds_a_key(tmp_path):
    """A key in a world-readable file is nobody's secret; one from a variable is."""
    text = "model_list:\n  - model_name: a\n    litellm_params: {model: openai/a, api_key: sk-Zx81bQ0mTt5vKp93LwYd}\n"
    file = write(tmp_path, text)
    file.chmod(0o644)

    loaded = load(file, {})

    assert loaded.config is not None
    assert "every user of this machine can read this file" in str(loaded.problems[0])
    file.write_text(text.replace("sk-Zx81bQ0mTt5vKp93LwYd", "os.environ/KEY"), "utf-8")
    assert load(file, {"KEY": "sk-Zx81bQ0mTt5vKp93LwYd"}).problems == []
