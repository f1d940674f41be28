"""Tenants of one proxy: none sees what is another's, none pays for another, and each call is paid once."""

import asyncio
import contextlib
import json
import statistics
import time
from typing import Any

import pytest

from proxy_cli.mock.faults import Faults
from tests.fakes.backend import running_backend
from tests.fakes.proxy import running_proxy
from tests.server.test_money import MASTER, PRICED, House, house

CHAT = "/v1/chat/completions"


@pytest.mark.row("A-38")
async def test_what_another_tenant_asked_is_not_found_by_guessing_ids(tmp_path):
    """Neither among the rows of the ledger, nor behind the paths where providers keep answers, files and batches."""
    async with running_backend() as backend, house(tmp_path, backend) as proxy:
        mine, other = await proxy.key(user_id="ann"), await proxy.key(user_id="bob")
        _, answer = await proxy.ask(mine)
        (row,) = await proxy.rows()
        found = []
        for name in (row["request_id"], row["llmproxy_request_id"], answer["id"]):
            found.append(await proxy.get(f"/spend/logs?request_id={name}", other))
            kinds = ("responses", "files", "batches", "videos", "fine_tuning/jobs")
            found += [await proxy.get(f"/v1/{kind}/{name}", other) for kind in kinds]
        own = await proxy.get(f"/spend/logs?request_id={row['request_id']}", mine)

    assert [each["request_id"] for each in own[1]] == [row["request_id"]]
    assert {status for status, told in found if told != []} <= {403, 404}
    assert "ann" not in json.dumps(found)


@pytest.mark.row("B-12")
async def test_a_stream_goes_on_to_its_end_when_its_budget_ends_in_the_middle(tmp_path):
    """It is charged in full, and the next request is refused."""
    async with running_backend() as backend, house(tmp_path, backend) as proxy:
        key = await proxy.key(max_budget=0.000_010)
        asked = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "[[mock events=50]]"}]}
        headers = {"authorization": f"Bearer {key}"}
        async with proxy.proxy.post(CHAT, json=asked, headers=headers) as response:
            text = await response.text()
        (row,) = await proxy.rows()
        status, _ = await proxy.ask(key)

    assert response.status == 200
    assert text.endswith("data: [DONE]\n\n")
    assert row["spend"] > 0.000_010
    assert status == 422


@pytest.mark.row("B-18")
async def test_a_call_that_is_tried_again_is_charged_once_and_its_attempts_are_told(tmp_path):
    """One row, whatever it took."""
    async with running_backend() as backend:
        config = f"""
            model_list:
              - model_name: m
                litellm_params: {{model: openai/a, api_base: "{backend.origin}/v1", api_key: x, {PRICED}}}
              - model_name: m
                litellm_params: {{model: openai/b, api_base: "{backend.origin}/v1", api_key: x, {PRICED}}}
            router_settings: {{num_retries: 2, retry_after: 0}}
            general_settings: {{master_key: {MASTER}}}
            """
        async with running_proxy(config, keeps=tmp_path) as running:
            proxy = House(running)
            key = await proxy.key()
            messages = [{"role": "user", "content": "[[mock status=500 times=1]]"}]
            status, answer = await proxy.post(CHAT, key, model="m", messages=messages)
            for _ in range(3):
                await proxy.get(f"/v1/responses/{answer['id']}", key)
            rows = await proxy.rows()
            _, info = await proxy.get(f"/key/info?key={key}")

    usage = answer["usage"]
    cost = usage["prompt_tokens"] * 0.000_001 + usage["completion_tokens"] * 0.000_002
    assert (status, len(rows)) == (200, 1)
    assert len([each for each in backend.requests if each.method == "POST"]) == 2
    assert rows[0]["spend"] == info["info"]["spend"] == pytest.approx(cost, abs=1e-12)
    assert rows[0]["attempts"] == 2


async def _left_after(proxy: House, key: str, wait_s: float, **more: Any) -> None:
    """A caller who leaves after a while."""
    asked = {"model": "m", "messages": [{"role": "user", "content": "[[mock events=20 gap=0.005]]"}], **more}
    with contextlib.suppress(TimeoutError):
        async with (
            asyncio.timeout(wait_s),
            proxy.proxy.post(CHAT, json=asked, headers={"authorization": f"Bearer {key}"}) as response,
        ):
            await response.read()


@pytest.mark.row("B-09")
async def test_a_caller_who_leaves_at_any_moment_is_charged_once(tmp_path):
    """A row for each request that reached the backend, their sum is what is told as spent, and no place stays taken."""
    async with running_backend() as backend, house(tmp_path, backend) as proxy:
        key = await proxy.key(max_parallel_requests=100, max_budget=1)
        for stream in (True, False):
            await asyncio.gather(*(_left_after(proxy, key, each / 150, stream=stream) for each in range(1, 50)))
        await asyncio.sleep(0.2)
        reached = len([each for each in backend.requests if each.method == "POST"])
        rows = await proxy.rows()
        _, info = await proxy.get(f"/key/info?key={key}")
        await proxy.post("/key/update", key=key, max_parallel_requests=1)
        after = [(await proxy.ask(key))[0] for _ in range(3)]

    # A request may be on its way to the backend when its caller leaves, and never be read there.
    assert 2 * 49 >= len({row["llmproxy_request_id"] for row in rows}) == len(rows) >= reached > 20
    assert {row["state"] for row in rows} >= {"settled", "aborted"}
    assert info["info"]["spend"] == pytest.approx(sum(row["spend"] for row in rows), abs=1e-12)
    assert after == [200] * 3


@pytest.mark.row("L-02")
async def test_a_tenant_with_a_hundred_requests_waiting_holds_nobody_else_up(tmp_path):
    """Another's request is sent among the next few, not after the hundred."""
    async with running_backend(faults=Faults(delay_s=0.03)) as backend:
        config = f"""
            model_list:
              - model_name: m
                litellm_params:
                  {{model: openai/m, api_base: "{backend.origin}/v1", api_key: x, max_parallel_requests: 4}}
            general_settings: {{master_key: {MASTER}}}
            """
        async with running_proxy(config, keeps=tmp_path) as running:
            proxy = House(running)
            many, few = await proxy.key(), await proxy.key()

            async def crowd() -> None:
                while True:
                    await proxy.ask(many)

            waiting = [asyncio.create_task(crowd()) for _ in range(90)]
            await asyncio.sleep(0.5)
            overtaken = []
            for number in range(15):
                before = len(backend.requests)
                status, _ = await proxy.ask(few, user=f"few-{number}")
                sent = [each.body.get("user") for each in backend.requests if each.method == "POST"]
                overtaken.append(sent.index(f"few-{number}") - before)
                assert status == 200
            for each in waiting:
                each.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    assert max(overtaken) <= 12, "of ninety that were there before"


@pytest.mark.deep
@pytest.mark.row("A-29")
async def test_the_time_of_a_refusal_tells_nothing_of_how_much_of_a_key_was_right(tmp_path):
    """Right beginnings and wrong ones take as long, as far as one sample of wrong ones is as long as another."""
    async with running_backend() as backend, house(tmp_path, backend) as proxy:
        key = await proxy.key()
        kinds = {
            "random": [f"sk-{number:0{len(key) - 3}d}" for number in range(20)],
            "others": [f"sk-{number + 20:0{len(key) - 3}d}" for number in range(20)],
            "right": [f"{key[:-2]}{number:02d}" for number in range(20) if f"{number:02d}" != key[-2:]],
        }
        times: dict[str, list[float]] = {kind: [] for kind in kinds}
        for turn in range(6000):
            for kind, keys in kinds.items():
                began_s = time.perf_counter()
                status, _ = await proxy.get("/v1/models", keys[turn % len(keys)])
                times[kind].append(time.perf_counter() - began_s)
                assert status == 401
    usual, other, right = (statistics.median(each[600:]) for each in times.values())

    assert abs(right - usual) <= 3 * abs(other - usual) + 0.03 * usual
