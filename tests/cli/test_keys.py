"""`llmproxy keys`: keys of a running proxy, from the shell."""

import asyncio
import json

import pytest
from click.testing import CliRunner

from proxy_cli.cli.client import ClientOptions
from proxy_cli.cli.keys import keys, run
from tests.fakes.proxy import running_proxy

MASTER = "sk-0123456789abcdef"
CONFIG = f"""
    model_list:
      - model_name: talks
        litellm_params: {{model: openai/talks, mock_response: hello}}
    general_settings: {{master_key: {MASTER}}}
"""


@pytest.fixture
async def proxy(tmp_path):
    async with running_proxy(CONFIG, keeps=tmp_path / "kept") as running:
        yield running


@pytest.fixture
async def ask(capsys, proxy):
    """Runs the command against a proxy: its exit code, and what it has written."""

    async def ask(action, name=None, *, key=MASTER, as_json=False, **values):
        options = ClientOptions(url=proxy.origin, key=key, json=as_json)
        status = await asyncio.to_thread(run, action, name, values, options, {})
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return ask


async def works(proxy, key):
    body = {"model": "talks", "messages": [{"role": "user", "content": "hi"}]}
    async with proxy.post("/v1/chat/completions", body, headers={"authorization": f"Bearer {key}"}) as reply:
        return reply.status == 200


async def test_a_key_is_made_and_used(ask, proxy):
    """Standard output is the key alone, so that a script can take it."""
    status, out, err = await ask("create", alias="laptop", models="talks, other", max_budget=5.0, expires="30d")

    assert status == 0
    assert out.startswith("sk-")
    assert len(out.splitlines()) == 1
    assert "not shown again" in err
    assert await works(proxy, out.strip())


async def test_list_shows_keys_without_showing_them(ask):
    """Alias, models and budget of each; never the key."""
    made = (await ask("create", alias="laptop", models="talks", max_budget=5.0))[1].strip()

    _, table, _ = await ask("list")
    told = json.loads((await ask("list", as_json=True, alias="laptop"))[1])

    assert "laptop" in table
    assert "5.0" in table
    assert made not in table
    assert [each["key_alias"] for each in told["keys"]] == ["laptop"]
    assert told["keys"][0]["models"] == ["talks"]


async def test_a_key_is_told_and_changed_by_its_alias(ask):
    """As by itself; what was not said stays."""
    await ask("create", alias="laptop", rpm=5)

    assert (await ask("update", "laptop", tpm=100))[0] == 0

    _, out, _ = await ask("info", "laptop")
    assert "rpm_limit: 5" in out
    assert "tpm_limit: 100" in out


async def test_a_revoked_key_opens_nothing(ask, proxy):
    """From the next request on."""
    made = (await ask("create"))[1].strip()

    status, out, _ = await ask("revoke", made)

    assert (status, out) == (0, "1 key revoked; it opens nothing from now on\n")
    assert not await works(proxy, made)


async def test_a_rotated_key_takes_the_place_of_the_former_one(ask, proxy):
    """It is otherwise the same."""
    made = (await ask("create", alias="laptop"))[1].strip()

    other = (await ask("rotate", "laptop"))[1].strip()

    assert await works(proxy, other)
    assert not await works(proxy, made)
    assert json.loads((await ask("info", other, as_json=True))[1])["info"]["key_alias"] == "laptop"


async def test_an_alias_that_nobody_has_is_one_sentence(ask):
    """Exit code 1, and the command that shows those there are."""
    status, out, err = await ask("revoke", "no-such")

    assert (status, out) == (1, "")
    assert "no key has the alias or token 'no-such'; llmproxy keys list" in err


async def test_what_the_proxy_refuses_is_said_in_its_words(ask):
    """In JSON as well, where that was asked for."""
    status, out, _ = await ask("create", key="sk-wrong-0123456789", as_json=True)

    assert status == 1
    assert json.loads(out)["ok"] is False


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["revoke"], "`revoke` needs name: llmproxy keys revoke NAME"),
        (["list", "laptop"], "`list` takes no name"),
        (["info", "laptop", "--rpm", "5"], "--rpm does nothing with `info`"),
        (["create", "--grace", "1h"], "--grace does nothing with `create`"),
        (["list", "--max-budget", "5"], "--max-budget does nothing with `list`"),
    ],
)
def test_what_would_do_nothing_is_refused_before_anything_is_asked(words, sentence):
    """A slip changes no key."""
    result = CliRunner().invoke(keys, words)

    assert result.exit_code == 2
    assert sentence in result.output


async def test_the_token_that_list_shows_names_a_key(ask):
    """A key without an alias is named by what can be read of it."""
    await ask("create")
    token = json.loads((await ask("list", as_json=True))[1])["keys"][0]["token"]

    status, out, _ = await ask("info", token[:12])
    refused = await ask("info", "0" * 12)

    assert status == 0
    assert "key_name: sk-..." in out
    assert refused[0] == 1
    assert "no key has the alias or token '000000000000'" in refused[2]
