"""The names that callers may ask for, with what they can do."""

import pytest

from proxy_cli.admin import groups
from proxy_cli.callers import Caller, Role
from proxy_cli.errors import NotFound, Unprocessable
from tests.fakes.spending import ADMIN, CHAT, ask, office_of
from tests.fakes.store import fresh_store

KEY = "sk-canary-1"
ENTRIES = (
    CHAT,
    {
        "model_name": "chat",
        "litellm_params": {
            "model": "openai/own", "api_base": "http://10.0.0.1/v1", "api_key": KEY, "rpm": 5,
            "input_cost_per_token": 1.0,
        },
        "model_info": {"id": "own", "supports_vision": False, "max_input_tokens": 9},
    },
    {"model_name": "vectors", "litellm_params": {"model": "openai/text-embedding-3-small", "rpm": 7, "api_key": KEY}},
    {"model_name": "deepseek/*", "litellm_params": {"model": "deepseek/*", "api_key": KEY}},
    {"model_name": "own/*", "litellm_params": {"model": "openai/*", "api_base": "http://10.0.0.1/v1", "api_key": KEY}},
)  # fmt: skip


@pytest.fixture
async def office(tmp_path):
    store = fresh_store(tmp_path)
    yield office_of(store, *ENTRIES)
    await store.close()


def only(*names):
    """A caller who may ask for these names."""
    return Caller(role=Role.USER, key="k", models=(frozenset(names),))


async def asked(office, path="/model_group/info", caller=ADMIN, **query):
    return await ask(office, groups.ENDPOINTS, path, caller, **query)


async def test_a_name_says_what_its_deployments_can_do_together(office):
    """Providers, the widest window, the highest price, limits added up, and each ability that one of them has."""
    (found,) = (await asked(office, model_group="chat"))["data"]

    assert found["model_group"] == "chat"
    assert found["providers"] == ["openai"]
    assert found["mode"] == "chat"
    assert found["max_input_tokens"] == 128000
    assert found["input_cost_per_token"] == 1.0
    assert (found["rpm"], found["tpm"]) == (5, None)
    assert found["supports_function_calling"] is True
    assert "tools" in found["supported_openai_params"]


async def test_a_caller_sees_the_names_it_may_ask_for(office):
    """One model, one entry; the others are as if there were none."""
    found = await asked(office, caller=only("vectors"))

    assert [each["model_group"] for each in found["data"]] == ["vectors"]
    with pytest.raises(NotFound, match="'chat'"):
        await asked(office, caller=only("vectors"), model_group="chat")


async def test_each_of_those_who_have_a_say_must_allow_a_name(office):
    """The key, the team, the organization; a beginning and a star are names of many."""
    caller = Caller(role=Role.USER, models=(frozenset({"chat", "own/*"}), frozenset({"*"})))

    assert [each["model_group"] for each in (await asked(office, caller=caller))["data"]] == ["chat", "own/*"]


async def test_a_wildcard_of_a_provider_is_told_as_the_models_it_stands_for(office):
    """So that a client can choose one; of a server of one's own nobody knows its models."""
    names = [each["model_group"] for each in (await asked(office))["data"]]

    assert "deepseek/*" not in names
    assert "deepseek/deepseek-chat" in names
    assert "own/*" in names


async def test_an_expanded_name_is_narrowed_as_others_are(office):
    """A key for one of them does not see the rest."""
    found = await asked(office, caller=only("deepseek/deepseek-chat"))

    assert [each["model_group"] for each in found["data"]] == ["deepseek/deepseek-chat"]
    assert found["data"][0]["max_input_tokens"]


async def test_a_name_that_only_a_wildcard_serves_is_found(office):
    """When it is asked for."""
    found = await asked(office, model_group="deepseek/deepseek-chat")

    assert [each["model_group"] for each in found["data"]] == ["deepseek/deepseek-chat"]


async def test_deployments_come_page_by_page_without_secrets(office):
    """LiteLLM's fields of pages, and of each deployment."""
    first = await asked(office, "/v2/model/info", size="2")
    last = await asked(office, "/v2/model/info", size="2", page="3")

    assert (first["total_count"], first["total_pages"], first["current_page"], first["size"]) == (5, 3, 1, 2)
    assert [each["model_name"] for each in first["data"]] == ["chat", "chat"]
    assert first["data"][1]["model_info"]["id"] == "own"
    assert first["data"][1]["model_info"]["db_model"] is False
    assert len(last["data"]) == 1
    assert "canary" not in str(first)
    assert "sk-of-the-file" not in str(first)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"model": "vectors"}, ["vectors"]),
        ({"modelId": "own"}, ["chat"]),
        ({"search": "EMBEDDING"}, ["vectors"]),
        ({"model": "no-such"}, []),
        ({"sortBy": "model_name", "sortOrder": "desc", "size": "1"}, ["vectors"]),
    ],
)
async def test_deployments_are_looked_for(office, query, names):
    """By name, id or a part of a name."""
    assert [each["model_name"] for each in (await asked(office, "/v2/model/info", **query))["data"]] == names


async def test_deployments_are_narrowed_to_the_caller(office):
    """As names are."""
    found = await asked(office, "/v2/model/info", caller=only("vectors"))

    assert (found["total_count"], [each["model_name"] for each in found["data"]]) == (1, ["vectors"])


async def test_an_order_that_is_none_is_refused(office):
    """With the words that are."""
    with pytest.raises(Unprocessable, match="asc, desc"):
        await asked(office, "/v2/model/info", sortBy="model_name", sortOrder="up")
