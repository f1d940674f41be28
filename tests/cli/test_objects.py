"""What `llmproxy teams`, `users` and `budgets` share, against a proxy that runs."""

import asyncio
import json

import pytest
from click.testing import CliRunner

from proxy_cli.cli.budgets import BUDGETS
from proxy_cli.cli.client import ClientOptions
from proxy_cli.cli.objects import run
from proxy_cli.cli.teams import TEAMS, teams
from proxy_cli.cli.users import USERS
from tests.fakes.proxy import running_proxy

MASTER = "sk-0123456789abcdef"
CONFIG = f"""
    model_list:
      - model_name: talks
        litellm_params: {{model: openai/talks, mock_response: hello}}
    general_settings: {{master_key: {MASTER}}}
"""


@pytest.fixture
async def ask(tmp_path, capsys):
    """Runs an action against a proxy: its exit code, and what it has written."""
    async with running_proxy(CONFIG, keeps=tmp_path / "kept") as proxy:

        async def ask(sort, action, name="", *, as_json=False, **values):
            options = ClientOptions(url=proxy.origin, key=MASTER, json=as_json)
            status = await asyncio.to_thread(run, sort, action, name, values, options, {})
            shown = capsys.readouterr()
            return status, shown.out, shown.err

        yield ask


@pytest.mark.parametrize(
    ("sort", "values", "shown"),
    [
        (TEAMS, {"alias": "Blue", "models": "talks, other"}, ["Blue", "talks, other"]),
        (USERS, {"email": "a@example.org", "role": "internal_user"}, ["a@example.org", "internal_user"]),
        (BUDGETS, {"soft_budget": 1.0}, []),
    ],
    ids=["teams", "users", "budgets"],
)
async def test_an_object_is_made_seen_changed_and_deleted(ask, sort, values, shown):
    """Standard output of `create` is the id alone, so that a script can take it."""
    status, out, err = await ask(sort, "create", **values, max_budget=5.0, rpm=7)
    name = out.strip()
    assert (status, err, len(out.splitlines())) == (0, "", 1)

    table = (await ask(sort, "list"))[1]
    assert all(word in table for word in ["5.0", *shown])
    assert "rpm_limit: 7" in (await ask(sort, "info", name))[1]
    assert (await ask(sort, "update", name, max_budget=9.0))[0] == 0
    told = json.loads((await ask(sort, "info", name, as_json=True))[1])
    assert (told["ok"], told[sort.name]["max_budget"], told[sort.name]["rpm_limit"]) == (True, 9.0, 7)
    assert (await ask(sort, "delete", name))[1] == f"the {sort.name} {name} was deleted\n"
    left = json.loads((await ask(sort, "list", as_json=True))[1])[f"{sort.name}s"]
    assert name not in {each[sort.id] for each in left}


async def test_what_is_not_there_is_one_sentence_and_exit_code_1(ask):
    """For people, and as JSON."""
    for sort in (TEAMS, USERS, BUDGETS):
        status, out, err = await ask(sort, "info", "no-such")
        assert (status, out) == (1, "")
        assert "no-such" in err
        status, out, _ = await ask(sort, "info", "no-such", as_json=True)
        assert (status, json.loads(out)["ok"]) == (1, False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["info"], "llmproxy teams info NAME"),
        (["create", "name"], "takes no name"),
        (["delete", "t", "--max-budget", "1"], "--max-budget does nothing with `delete`"),
        (["list", "--rpm", "1"], "--rpm does nothing with `list`"),
        (["sing"], "sing"),
        (["create", "--max-budget", "-1"], "max"),
    ],
)
def test_a_command_that_cannot_be_meant_is_refused_before_anything_is_asked(arguments, words):
    """Exit code 2, with what to write instead."""
    result = CliRunner().invoke(teams, arguments)

    assert result.exit_code == 2
    assert words in result.output
