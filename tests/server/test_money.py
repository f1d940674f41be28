"""Keys, budgets and spend as a team uses them: made over HTTP, used, over their limits, still there after a restart."""

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.fakes.backend import running_backend
from tests.fakes.proxy import RunningProxy, running_proxy

MASTER = "sk-master-1234567890abcdef"
PRICED = "input_cost_per_token: 0.000001, output_cost_per_token: 0.000002"


class House:
    """A proxy with a store, and how one asks it."""

    def __init__(self, proxy: RunningProxy) -> None:
        self.proxy = proxy

    async def post(self, path: str, by: str = MASTER, **body: Any) -> tuple[int, Any]:
        async with self.proxy.post(path, json=body, headers={"authorization": f"Bearer {by}"}) as response:
            return response.status, await response.json()

    async def get(self, path: str, by: str = MASTER) -> tuple[int, Any]:
        async with self.proxy.get(path, headers={"authorization": f"Bearer {by}"}) as response:
            return response.status, await response.json()

    async def key(self, **fields: Any) -> str:
        status, made = await self.post("/key/generate", **fields)
        assert status == 200, made
        return str(made["key"])

    async def ask(self, key: str, model: str = "m", **more: Any) -> tuple[int, Any]:
        messages = [{"role": "user", "content": "hi"}]
        return await self.post("/v1/chat/completions", key, model=model, messages=messages, **more)

    async def rows(self) -> list[dict[str, Any]]:
        """The ledger once all of it is in the store."""
        await asyncio.sleep(0.3)
        _, found = await self.get("/spend/logs")
        return list(found)


@asynccontextmanager
async def house(folder, backend, general: str = "", litellm: str = "", **flags):
    config = f"""
        model_list:
          - model_name: m
            litellm_params: {{model: openai/m, api_base: "{backend.origin}/v1", api_key: x, {PRICED}}}
          - model_name: free
            litellm_params: {{model: openai/m, api_base: "{backend.origin}/v1", api_key: x}}
        router_settings: {{num_retries: 0}}
        litellm_settings: {{drop_params: false, {litellm}}}
        general_settings: {{master_key: {MASTER}, {general}}}
        """
    async with running_proxy(config, keeps=folder, **flags) as proxy:
        yield House(proxy)


async def test_a_key_is_made_used_over_its_budget_and_still_there_after_a_restart(tmp_path):
    """The first minute of a team: nothing but a master key is configured."""
    async with running_backend() as backend:
        async with house(tmp_path, backend) as first:
            key = await first.key(max_budget=0.000_005, key_alias="app")
            answers = [(await first.ask(key))[0] for _ in range(3)]
            status, refusal = await first.ask(key)
        async with house(tmp_path, backend) as second:
            again = (await second.ask(key))[0]
            _, info = await second.get(f"/key/info?key={key}")
            rows = await second.rows()

    assert answers == [200, 200, 422]
    assert (status, refusal["error"]["type"]) == (422, "budget_exceeded")
    assert "app" in refusal["error"]["message"]
    assert (again, info["info"]["spend"]) == (422, 0.000_006)
    assert [row["spend"] for row in rows] == [0.000_003, 0.000_003]


@pytest.mark.row("B-07")
async def test_the_tightest_scope_is_named(tmp_path):
    """Key, user and team each have a budget; whichever is spent first is told."""
    async with running_backend() as backend, house(tmp_path, backend) as proxy:
        _, team = await proxy.post("/team/new", team_alias="crew", max_budget=0.000_001)
        _, user = await proxy.post("/user/new", user_id="ann", max_budget=0.000_001, auto_create_key=False)
        of_team = await proxy.key(team_id=team["team_id"])
        of_user = await proxy.key(user_id=user["user_id"])
        told = []
        for key in (of_team, of_user):
            assert (await proxy.ask(key))[0] == 200
            told.append((await proxy.ask(key))[1]["error"]["message"])

    assert "crew" in told[0]
    assert "ann" in told[1]


@pytest.mark.row("A-36")
async def test_blocked_and_deleted_keys_are_refused_at_once(tmp_path):
    """And a key that is unblocked works again."""
    async with running_backend() as backend, house(tmp_path, backend) as proxy:
        key = await proxy.key()
        found = [(await proxy.ask(key))[0]]
        for path, body in (
            ("/key/block", {"key": key}),
            ("/key/unblock", {"key": key}),
            ("/key/delete", {"keys": [key]}),
        ):
            assert (await proxy.post(path, **body))[0] == 200
            found.append((await proxy.ask(key))[0])

    assert found == [200, 401, 200, 401]


@pytest.mark.row("B-08")
async def test_a_raised_budget_holds_at_once(tmp_path):
    """Also for a key that was refused a moment ago."""
    async with running_backend() as backend, house(tmp_path, backend) as proxy:
        key = await proxy.key(max_budget=0.000_001)
        found = [(await proxy.ask(key))[0], (await proxy.ask(key))[0]]
        await proxy.post("/key/update", key=key, max_budget=1)
        found.append((await proxy.ask(key))[0])

    assert found == [200, 422, 200]


@pytest.mark.row("B-06")
async def test_what_is_refused_for_money_takes_no_requests_of_the_minute(tmp_path):
    """Nor does what is refused for the model."""
    async with running_backend() as backend, house(tmp_path, backend) as proxy:
        key = await proxy.key(max_budget=0.000_001, rpm_limit=3, models=["m", "free"])
        found = [(await proxy.ask(key))[0] for _ in range(4)]
        await proxy.post("/key/update", key=key, max_budget=1)
        found += [(await proxy.ask(key))[0] for _ in range(3)]

    assert found == [200, 422, 422, 422, 200, 200, 429]


@pytest.mark.row("B-17")
async def test_rows_are_ours_whatever_backend_and_caller_call_them(tmp_path):
    """The same id of the provider and of the caller in each request: still a row each."""
    async with running_backend() as backend, house(tmp_path, backend) as proxy:
        key = await proxy.key()
        for _ in range(5):
            async with proxy.proxy.post(
                "/v1/chat/completions",
                json={"model": "m", "messages": [{"role": "user", "content": "hi"}]},
                headers={"authorization": f"Bearer {key}", "x-litellm-call-id": "always-the-same"},
            ) as response:
                assert response.status == 200
        rows = await proxy.rows()

    assert len(rows) == 5
    assert {row["litellm_call_id"] for row in rows} == {"always-the-same"}
    assert len({row["llmproxy_request_id"] for row in rows}) == 5


@pytest.mark.row("S-05")
async def test_a_stream_that_is_left_is_charged_for_what_came(tmp_path):
    """Its row says that it was aborted, and whose count that is."""
    async with running_backend() as backend, house(tmp_path, backend) as proxy:
        key = await proxy.key()
        async with proxy.proxy.post(
            "/v1/chat/completions",
            json={"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi " * 2000}]},
            headers={"authorization": f"Bearer {key}"},
        ) as response:
            await response.content.readany()
            response.close()
        await asyncio.sleep(0.1)
        (row,) = await proxy.rows()

    assert row["spend"] > 0
    assert row["completion_tokens"] > 0


async def test_what_a_caller_wants_kept_is_kept(tmp_path):
    """Tags, end user, session."""
    async with running_backend() as backend, house(tmp_path, backend) as proxy:
        key = await proxy.key(metadata={"tags": ["of-key"]})
        await proxy.ask(key, user="eve", metadata={"tags": ["asked"], "session_id": "s1", "n": 1})
        (row,) = await proxy.rows()

    assert (row["end_user"], row["session_id"]) == ("eve", "s1")
    assert set(row["request_tags"]) == {"of-key", "asked"}


async def test_models_are_added_and_taken_away_while_it_serves(tmp_path):
    """Their secrets reach their own backend only, and are there after a restart."""
    async with running_backend() as backend:
        async with house(tmp_path, backend, "store_model_in_db: true") as proxy:
            params = {"model": "openai/zz", "api_base": f"{backend.origin}/v1", "api_key": "sk-of-the-added-model-1"}
            status, _ = await proxy.post("/model/new", model_name="added", litellm_params=params)
            assert status == 200
            await asyncio.sleep(0.2)
            assert (await proxy.ask(MASTER, "added"))[0] == 200
        async with house(tmp_path, backend, "store_model_in_db: true") as proxy:
            assert (await proxy.ask(MASTER, "added"))[0] == 200
            sent = backend.last.headers["authorization"]
            _, listed = await proxy.get("/model/info")
            added = next(each for each in listed["data"] if each["model_name"] == "added")
            await proxy.post("/model/delete", id=added["model_info"]["id"])
            await asyncio.sleep(0.2)
            gone = (await proxy.ask(MASTER, "added"))[0]

    assert (sent, gone) == ("Bearer sk-of-the-added-model-1", 400)
    assert added["model_info"]["db_model"] is True
    assert "sk-of-the-added-model-1" not in (tmp_path / "llmproxy.db").read_bytes().decode("latin-1")


async def test_a_caller_sees_the_names_that_it_may_ask_for(tmp_path):
    """And is told of no other."""
    async with running_backend() as backend, house(tmp_path, backend) as proxy:
        key = await proxy.key(models=["m"])
        _, listed = await proxy.get("/v1/models", key)
        status, _ = await proxy.get("/v1/models/free", key)
        refused = await proxy.ask(key, "free")

    assert [each["id"] for each in listed["data"]] == ["m"]
    assert (status, refused[0], refused[1]["error"]["type"]) == (404, 403, "key_model_access_denied")


async def test_limits_are_told_in_headers(tmp_path):
    """What is left of them, after each answer."""
    async with running_backend() as backend, house(tmp_path, backend) as proxy:
        key = await proxy.key(max_budget=1, rpm_limit=5, tpm_limit=100_000)
        async with proxy.proxy.post(
            "/v1/chat/completions",
            json={"model": "m", "messages": [{"role": "user", "content": "hi"}]},
            headers={"authorization": f"Bearer {key}"},
        ) as response:
            told = response.headers

    assert told["x-ratelimit-api_key-remaining-requests"] == "4"
    assert (told["x-litellm-key-rpm-limit"], told["x-litellm-key-max-budget"]) == ("5", "1.0")


async def test_a_key_that_may_says_the_answer_itself(tmp_path):
    """Its metadata says so, and no backend is asked; every other key is refused, and so is a model not allowed."""
    async with running_backend() as backend, house(tmp_path, backend) as proxy:
        may = await proxy.key(models=["m"], metadata={"allow_client_mock_response": True})
        answered = await proxy.ask(may, mock_response="made up")
        denied = await proxy.ask(may, "free", mock_response="made up")
        refused = await proxy.ask(await proxy.key(), mock_response="made up")
        asked = len(backend.requests)

    assert (answered[0], answered[1]["choices"][0]["message"]["content"]) == (200, "made up")
    assert (denied[0], denied[1]["error"]["type"]) == (403, "key_model_access_denied")
    assert (refused[0], refused[1]["error"]["code"]) == (400, "server_only_field")
    assert asked == 0
