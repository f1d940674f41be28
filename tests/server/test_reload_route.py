"""`POST /config/reload`."""

import socket
from contextlib import asynccontextmanager

import aiohttp

from proxy_cli.server.app import Server
from proxy_cli.server.reload import Renewal
from tests.fakes.proxy import prepared

KEY = "sk-a-long-master-key-1234"
CONFIG = """
    model_list:
      - model_name: one
        litellm_params: {model: openai/one, mock_response: one}
"""
LOCKED = f"{CONFIG}\n    general_settings: {{master_key: {KEY}}}\n"


@asynccontextmanager
async def served(config, renewal):
    """A server whose reloads come to this; its address and the questions it was asked."""
    asked = []

    async def ask(*, patient=False):
        asked.append(patient)
        return renewal

    server = Server(prepared(config), ask)
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/config/reload"
    await server.start(listener)
    try:
        yield url, asked
    finally:
        await server.stop()


async def post(url, **more):
    """Status and JSON of a POST."""
    async with aiohttp.ClientSession() as client, client.post(url, **more) as response:
        return response.status, await response.json()


async def test_reload_needs_the_master_key():
    """Nobody else makes the proxy work."""
    async with served(LOCKED, Renewal(True)) as (url, asked):
        status, _ = await post(url)
        wrong, _ = await post(url, headers={"authorization": "Bearer sk-wrong"})

    assert (status, wrong, asked) == (401, 401, [])


async def test_reload_tells_what_came_of_it():
    """Whoever asked need not look into the log."""
    renewal = Renewal(True, ("litellm_settings.json_logs holds from the next start on",))
    async with served(LOCKED, renewal) as (url, asked):
        answer = await post(url, headers={"authorization": f"Bearer {KEY}"})

    assert answer == (200, {"status": "reloaded", "notes": list(renewal.lines)})
    assert asked == [False]


async def test_reload_of_a_broken_file_is_refused_with_every_problem():
    """In OpenAI's envelope, as every refusal, and once more as a list."""
    lines = ("config.yaml:1:1: is empty - write a model_list", "config.yaml:2:1: is odd")
    async with served(LOCKED, Renewal(False, lines)) as (url, _):
        status, answer = await post(url, headers={"authorization": f"Bearer {KEY}"})

    assert status == 400
    assert answer["error"]["code"] == "invalid_configuration"
    assert answer["error"]["problems"] == list(lines)
    assert all(line in answer["error"]["message"] for line in lines)


async def test_reload_without_a_master_key_is_for_this_machine():
    """There is no other way to tell an operator from a caller."""
    async with served(CONFIG, Renewal(True)) as (url, asked):
        status, _ = await post(url)

    assert (status, asked) == (200, [False])
