"""`llmproxy spend`: what was spent at a running proxy."""

import asyncio
import json

import pytest

from proxy_cli.cli.client import ClientOptions
from proxy_cli.cli.spend import run
from proxy_cli.store.opening import open_store
from proxy_cli.store.settings import FILE_NAME, StoreSettings
from tests.fakes.proxy import running_proxy
from tests.fakes.spending import BOB, day, keep, tagged

MASTER = "sk-0123456789abcdef"
CONFIG = f"""
    model_list:
      - model_name: talks
        litellm_params: {{model: openai/talks, mock_response: hello}}
    general_settings: {{master_key: {MASTER}}}
"""
DATES = ("2026-11-01", "2026-11-30")


@pytest.fixture
async def ask(capsys, tmp_path):
    """Runs the command against a proxy with a few days of spend: its exit code, and what it has written."""
    async with running_proxy(CONFIG, keeps=tmp_path / "kept") as proxy:
        store = open_store(StoreSettings(path=tmp_path / "kept" / FILE_NAME))
        bobs = {"key": BOB.key, "user_id": "bob", "team_id": "red"}
        await keep(
            store,
            days=[day(), day("2026-11-20", model="llama", nano=3), day(**bobs, model="llama", nano=2_000_000_000)],
            tags=[tagged("blue")],
        )
        await store.close()

        async def ask(by, since=DATES[0], until=DATES[1], *, key=MASTER, as_json=False):
            options = ClientOptions(url=proxy.origin, key=key, json=as_json)
            status = await asyncio.to_thread(run, by, since, until, options, {})
            shown = capsys.readouterr()
            return status, shown.out, shown.err

        yield ask


@pytest.mark.parametrize(
    ("by", "rows"),
    [
        ("model", [("llama", 2.000000003), ("gpt-4o", 1.0)]),
        ("provider", [("openai", 3.000000003)]),
        ("user", [("bob", 2.0), ("alice", 1.000000003)]),
        ("team", [("red", 2.0)]),
        ("tag", [("blue", 1.0)]),
        ("customer", []),
        ("organization", []),
        ("day", [("2026-11-22", 3.0), ("2026-11-20", 3e-9)]),
    ],
)
async def test_spend_is_told_by_what_is_asked_for(ask, by, rows):
    """What cost most first; days with the newest first; with a total."""
    status, out, _ = await ask(by, as_json=True)
    told = json.loads(out)

    assert status == 0
    assert [(each["name"], pytest.approx(each["spend"])) for each in told["rows"]] == rows
    assert told["total"]["spend"] == pytest.approx(sum(usd for _, usd in rows))


async def test_people_get_a_table(ask):
    """Names, counts and USD; keys by the beginning of their tokens."""
    status, out, _ = await ask("key")

    assert status == 0
    assert BOB.key[:12] in out
    assert BOB.key not in out
    assert "2.000000" in out
    assert "3.000000" in out


async def test_days_are_narrowed(ask):
    """Both ends belong to what is told."""
    told = json.loads((await ask("day", "2026-11-20", "2026-11-20", as_json=True))[1])

    assert [each["name"] for each in told["rows"]] == ["2026-11-20"]


async def test_a_date_that_is_none_is_one_sentence(ask):
    """The proxy's own, with how to write one."""
    status, out, err = await ask("model", "yesterday")

    assert (status, out) == (1, "")
    assert "write a date as 2026-01-31" in err
