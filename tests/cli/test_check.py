"""`llmproxy check`: what a start would say, without a start."""

import json

import pytest

from tests.fakes.command import HELLO

SEED = """\
model_list:
  - model_name: 日本語
    litellm_params: {model: openai/vicuna-13b, api_base: "http://localhost:20080/v1", api_key: None}
  - model_name: text-embedding-ada-002
    litellm_params: {model: openai/luke, api_base: "http://localhost:40080/v1", api_key: None}
    model_info: {mode: embedding}
litellm_settings:
  cache: true
"""


def test_check_prints_models_addresses_and_every_keys_state(command):
    """Name, provider, backend model, effective address; used, ignored and why, not yet supported."""
    command.write("seed.yaml", SEED)

    done = command.run("check", "seed.yaml")

    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert "日本語 -> openai vicuna-13b http://localhost:20080/v1/chat/completions" in lines
    assert "text-embedding-ada-002 -> openai luke http://localhost:40080/v1/embeddings" in lines
    assert "model_list[*].litellm_params.api_base used (2 times)" in lines
    assert any(line.startswith("litellm_settings.cache not yet supported") for line in lines)
    assert lines[-1] == "seed.yaml: ok"
    assert "seed.yaml:8:10: warning: litellm_settings.cache" in done.stderr


def test_check_reports_all_that_is_wrong_with_place_and_cure(command):
    """Sorted, one line each, exit code 2."""
    command.write("bad.yaml", HELLO.replace("model:", "modle:") + "genral_settings: {}\n")

    done = command.run("check", "bad.yaml")

    lines = done.stderr.splitlines()
    assert done.returncode == 2
    assert [line.split(": ")[0] for line in lines] == ["bad.yaml:3:22", "bad.yaml:4:1"]
    assert 'did you mean "model"?' in lines[0]
    assert 'did you mean "general_settings"?' in lines[-1]
    assert done.stdout.splitlines()[-1] == "bad.yaml: it would not serve"


def test_check_strict_fails_for_warnings(command):
    """Only then."""
    command.write("seed.yaml", SEED)

    done = command.run("check", "--strict", "seed.yaml")

    assert done.returncode == 2
    assert done.stdout.splitlines()[-1] == "seed.yaml: it would serve, but there are warnings"


def test_check_prints_json_for_machines(command):
    """The same, whole: nothing is collapsed."""
    command.write("seed.yaml", SEED)

    found = json.loads(command.run("check", "seed.yaml", "--json").stdout)

    assert found["ok"] is True
    assert [model["name"] for model in found["models"]] == ["日本語", "text-embedding-ada-002"]
    assert {"path", "state", "why", "place"} == set(found["settings"][0])
    assert sum(state["path"].endswith(".api_base") for state in found["settings"]) == 2
    assert found["problems"][0]["severity"] == "warning"


def test_check_prints_the_schema(command):
    """A JSON Schema that knows model_list."""
    found = json.loads(command.run("check", "--schema").stdout)

    assert found["$schema"].startswith("https://json-schema.org/")
    assert "model_list" in found["properties"]


@pytest.mark.parametrize("arguments", [["check"], ["-c", "mine.yaml", "check"]])
def test_check_takes_the_file_of_the_working_folder_or_of_config(command, arguments):
    """config.yaml when nothing is named, else that of --config before the command."""
    command.write(arguments[1] if len(arguments) > 1 else "config.yaml", HELLO)

    assert command.run(*arguments).returncode == 0


def test_check_without_any_file_says_how_to_get_one(command):
    """One sentence, exit code 2."""
    done = command.run("check")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "llmproxy: name a file to check: llmproxy check FILE; `llmproxy init` writes a first one\n"


@pytest.mark.row("C-56")
def test_check_judges_the_master_key_for_the_address(command):
    """A weak key is an error where others can reach it, and fine on loopback."""
    command.write("c.yaml", HELLO + "general_settings: {master_key: sk-1234}\n")

    assert command.run("check", "c.yaml").returncode == 2
    assert command.run("--local", "check", "c.yaml").returncode == 0


@pytest.mark.row("C-59")
def test_check_never_prints_a_secret(command):
    """Neither in a problem nor among the states nor in JSON."""
    text = HELLO + "general_settings: {master_key: sk-very-secret-key-0001, sk-very-secret-key-0002: 1}\n"
    command.write("c.yaml", text)

    plain, machine = command.run("check", "c.yaml"), command.run("check", "c.yaml", "--json")

    assert "very-secret" not in plain.stdout + plain.stderr + machine.stdout + machine.stderr


@pytest.mark.row("C-27")
def test_check_tells_a_key_by_its_length_and_end(command):
    """So a key that a comment has cut is recognised; of a short one nothing but the length shows."""
    model = (
        "  - model_name: {0}\n    litellm_params:\n      {{model: openai/m, api_base: 'http://h/v1', api_key: {1}}}\n"
    )
    models = [("a", "sk-abcdefghijkl9876"), ("b", "sk-cut"), ("c", "sk-abcdefghijkl9876")]
    command.write("c.yaml", "model_list:\n" + "".join(model.format(*each) for each in models))

    printed = command.run("check", "c.yaml", LITELLM_MASTER_KEY="sk-4f9a1c7e2b8d6035-9x7q").stdout
    told = json.loads(command.run("check", "--json", "c.yaml").stdout)["keys"]

    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert "a and 1 more 19 characters, sk-…9876" in lines
    assert "b 6 characters" in lines
    assert "master key 24 characters, sk-…9x7q" in lines
    assert told == [
        {"of": "a and 1 more", "outline": "19 characters, sk-…9876"},
        {"of": "b", "outline": "6 characters"},
    ]
