"""`llmproxy prices`: what models cost, and prices that are taken from a file."""

import json

import pytest
from click.testing import CliRunner

from proxy_cli.cli import group
from proxy_cli.cli.prices import run
from proxy_cli.prices.table import PriceTable

ENTRY = {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 5e-07, "output_cost_per_token": 1e-06}


@pytest.fixture
def ask(tmp_path, capsys):
    """Runs the command over a folder of its own: its exit code, and what it has written."""

    def ask(action, name=None, **more):
        PriceTable.load.cache_clear()  # each command is a process of its own
        status = run(action, name, tmp_path / "data", **more)
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return ask


def written(tmp_path, **models):
    path = tmp_path / "list.json"
    path.write_text(json.dumps(models))
    return str(path)


def test_show_says_what_a_model_costs(ask):
    """By the million tokens, as people compare them."""
    status, out, _ = ask("show", "gpt-4o")

    assert status == 0
    assert "gpt-4o (openai)" in out
    assert "2.5 a million" in out
    assert "10 a million" in out


def test_show_knows_models_by_provider(ask):
    """As JSON: the entry as it is."""
    status, out, _ = ask("show", "gpt-4o", provider="azure", as_json=True)

    assert status == 0
    assert json.loads(out)["entry"]["litellm_provider"] == "azure"


def test_show_says_what_to_do_for_a_model_without_a_price(ask):
    """One sentence."""
    status, _, err = ask("show", "vicuna-13b", provider="openai")

    assert status == 2
    assert "no price of a model named 'vicuna-13b' of openai is known; set input_cost_per_token" in err


def test_prices_of_a_file_are_taken_and_given_back(ask, tmp_path):
    """They go before those that ship, which stay for all other models, until they are reset."""
    path = written(tmp_path, **{"gpt-4o": ENTRY, "sample_spec": {"input_cost_per_token": "text"}})

    assert ask("update", path)[:2] == (0, "taken: the prices of 1 models; a proxy uses them from its next start on\n")
    assert "0.5 a million" in ask("show", "gpt-4o")[1]
    assert ask("show", "gpt-4o-mini")[0] == 0
    assert "prices of 1 models are those of list.json, taken on 20" in ask("check")[1]
    assert ask("reset")[1].startswith("the prices that ship with llmproxy hold again")
    assert "2.5 a million" in ask("show", "gpt-4o")[1]
    assert ask("reset")[1] == "no other prices are kept\n"


@pytest.mark.row("B-19")
@pytest.mark.parametrize("action", ["update", "check"])
def test_a_file_with_a_price_that_is_none_is_not_taken(ask, tmp_path, action):
    """Each is named, up to a screen of them, and what was in use stays in use."""
    bad = {f"m{number}": {"input_cost_per_token": -1} for number in range(25)}

    status, _, err = ask(action, written(tmp_path, **bad))

    assert status == 2
    assert "Error: m0: input_cost_per_token is -1; write USD as a number that is 0 or more" in err
    assert "Error: and 5 more" in err
    assert "the prices that ship" in ask("check")[1]


def test_check_says_what_is_doubtful_in_a_file(ask, tmp_path):
    """A slip in a name costs money without a word."""
    path = written(tmp_path, m={**ENTRY, "input_cost_per_tokn": 1})

    status, out, err = ask("check", path)

    assert (status, out) == (0, f"{path}: sound, 1 models\n")
    assert "warning: input_cost_per_tokn is no price that is known here" in err


@pytest.mark.parametrize("action", ["update", "check"])
def test_a_file_that_is_not_there_is_told(ask, tmp_path, action):
    """With its name."""
    status, out, _ = ask(action, str(tmp_path / "none.json"), as_json=True)

    assert status == 2
    assert json.loads(out) == {"ok": False, "errors": [f"{tmp_path}/none.json: No such file or directory"]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show"], "llmproxy prices show MODEL"),
        (["update"], "llmproxy prices update FILE"),
        (["reset", "x"], "reset takes no name"),
        (["check", "--provider", "x"], "--provider goes with show"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, said):
    """With what to write."""
    result = CliRunner().invoke(group, ["prices", *arguments])

    assert result.exit_code == 2
    assert said in result.output


def test_the_command_keeps_prices_in_the_folder_for_data(tmp_path):
    """LLMPROXY_DATA_DIR."""
    environ = {"LLMPROXY_DATA_DIR": str(tmp_path / "data")}

    result = CliRunner().invoke(group, ["prices", "update", written(tmp_path, m=ENTRY)], env=environ)

    assert result.exit_code == 0
    assert (tmp_path / "data" / "prices.json.gz").exists()
