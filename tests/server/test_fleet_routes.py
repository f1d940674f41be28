"""`/health` from what is known, and `/backends`: seen and steered by whoever holds the master key."""

import socket
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest

from proxy_cli.errors import NotFound
from proxy_cli.routing.fleet import Probed
from proxy_cli.routing.table import Table
from proxy_cli.server.app import Server
from proxy_cli.server.fleet_routes import named
from proxy_cli.server.prober import Probing
from proxy_cli.shapes import Backend, Deployment
from tests.fakes.backend import running_backend
from tests.fakes.proxy import nobody_reloads, prepared, running_proxy

KEY = "sk-a-long-master-key-1234"
CHAT = {"model": "one", "messages": [{"role": "user", "content": "Hi"}]}


def two(url: str, dead: str = "http://127.0.0.1:9/v1", key: str = "") -> str:
    """Two names on two servers."""
    return f"""
        model_list:
          - model_name: one
            litellm_params: {{model: openai/a, api_base: "{url}", api_key: sk-secret-0123456789}}
            model_info: {{id: first}}
          - model_name: two
            litellm_params: {{model: openai/b, api_base: "{dead}"}}
            model_info: {{id: second}}
        general_settings: {{{f"master_key: {key}" if key else ""}}}
    """


@pytest.fixture
async def backend():
    """A mock backend."""
    async with running_backend() as running:
        yield running


@pytest.fixture
async def proxy(backend):
    """A proxy before it, without a master key."""
    async with running_proxy(two(backend.url)) as running:
        yield running


async def told(response_of):
    """Status and JSON of a response."""
    async with response_of as response:
        return response.status, await response.json()


async def test_health_tells_what_is_known_and_asks_nobody(proxy, backend):
    """LiteLLM's shape, with the state of each; no key in it."""
    async with proxy.get("/health") as response:
        status, text, answer = response.status, await response.text(), await response.json()

    assert status == 200
    assert (answer["healthy_count"], answer["unhealthy_count"]) == (2, 0)
    assert answer["healthy_endpoints"][0] == {
        "model": "openai/a",
        "model_name": "one",
        "api_base": backend.url,
        "model_id": "first",
        "state": "unknown",
    }
    assert "sk-secret" not in text
    assert backend.requests == []


async def test_health_shows_what_looks_have_found(proxy):
    """A dead server is unhealthy, with the reason; asked for alone it is a 503."""
    proxy.setup.fleet.set_probed("second", Probed.DOWN, "cannot connect to http://127.0.0.1:9")

    _, answer = await told(proxy.get("/health"))
    alone = await told(proxy.get("/health?model=two"))
    well = await told(proxy.get("/health?model_id=first"))
    unknown, _ = await told(proxy.get("/health?model=nope"))

    assert (answer["healthy_count"], answer["unhealthy_count"]) == (1, 1)
    ill = answer["unhealthy_endpoints"][0]
    assert (ill["model_id"], ill["state"], ill["exception_status"]) == ("second", "down", 503)
    assert ill["error"] == "cannot connect to http://127.0.0.1:9"
    assert (alone[0], alone[1]["unhealthy_count"]) == (503, 1)
    assert (well[0], well[1]["healthy_count"]) == (200, 1)
    assert unknown == 400


async def test_a_drained_deployment_gets_no_more_requests_until_it_is_resumed(proxy, backend):
    """The word is taken at once, and what is listed shows it."""
    status, drained = await told(proxy.post("/backends/one/drain"))
    async with proxy.post("/v1/chat/completions", json=CHAT) as response:
        refused = response.status
    _, resumed = await told(proxy.post("/backends/first/resume"))
    async with proxy.post("/v1/chat/completions", json=CHAT) as response:
        answered = response.status

    assert status == 200
    assert [(each["id"], each["state"], each["operator_for_s"]) for each in drained["backends"]] == [
        ("first", "draining", None)
    ]
    assert refused in {429, 503}
    assert [each["state"] for each in resumed["backends"]] == ["unknown"]
    assert answered == 200
    assert len(backend.requests) == 1


async def test_a_word_may_hold_for_a_time(proxy):
    """Then the deployment comes back by itself."""
    _, disabled = await told(proxy.post("/backends/two/disable", json={"for_s": 3600}))
    _, listed = await told(proxy.get("/backends"))

    assert 3590 < disabled["backends"][0]["operator_for_s"] <= 3600
    assert [each["operator"] for each in listed["backends"]] == ["active", "disabled"]
    assert listed["backends"][1]["why"].startswith("taken out of use by hand, for 60 min")


async def test_backends_tell_what_each_deployment_is_at(proxy):
    """Name, address without secrets, state, in flight, rests, operator."""
    async with proxy.post("/v1/chat/completions", json={**CHAT, "model": "two"}) as response:
        assert response.status == 502
    async with proxy.get("/backends") as response:
        text, answer = await response.text(), await response.json()

    one, two = answer["backends"]
    assert (one["name"], one["id"], one["in_flight"], one["rests_s"]) == ("one", "first", 0, 0)
    assert two["api_base"] == "http://127.0.0.1:9/v1"
    assert two["last_failure"]
    assert "sk-secret" not in text


async def test_a_server_is_named_by_its_host_and_port(proxy, backend):
    """All deployments on it are meant."""
    _, answer = await told(proxy.post(f"/backends/127.0.0.1:{backend.port}/drain"))

    assert [each["id"] for each in answer["backends"]] == ["first"]


async def test_an_unknown_name_is_told_with_near_ones(proxy):
    """404, and nothing is drained."""
    status, answer = await told(proxy.post("/backends/secnod/drain"))

    assert status == 404
    assert answer["error"]["code"] == "backend_not_found"
    assert "did you mean 'second'?" in answer["error"]["message"]


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"for_s": "1h"}', b'{"for": 1}', b'{"for_s": 0}', b'{"for_s": 1e9}'])
async def test_a_body_that_is_not_understood_drains_nothing(proxy, body):
    """Better nothing than for another time than was meant."""
    headers = {"content-type": "application/json"}
    status, answer = await told(proxy.client.post(f"{proxy.origin}/backends/one/drain", data=body, headers=headers))
    _, listed = await told(proxy.get("/backends"))

    assert status == 400
    assert "for_s" in answer["error"]["message"]
    assert listed["backends"][0]["operator"] == "active"


async def test_backends_are_operated_with_the_master_key_alone(backend):
    """Without it nothing is shown or done."""
    async with running_proxy(two(backend.url, key=KEY)) as proxy:
        refused = [(await told(proxy.get("/backends")))[0], (await told(proxy.post("/backends/one/drain")))[0]]
        headers = {"authorization": f"Bearer {KEY}"}
        status, answer = await told(proxy.post("/backends/one/drain", headers=headers))

    assert refused == [401, 401]
    assert (status, answer["backends"][0]["operator"]) == (200, "draining")


@asynccontextmanager
async def looking_proxy(config: str):
    """A proxy that looks at its servers at once; its fleet."""
    probing = Probing(first_s=0.0, ready_s=0.05, other_s=0.05, timeout_s=0.5)
    setup = replace(prepared(config), probing=probing)
    server, listener = Server(setup, nobody_reloads), socket.create_server(("127.0.0.1", 0))
    origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
    await server.start(listener)
    try:
        async with aiohttp.ClientSession(origin) as client:
            yield client
    finally:
        await server.stop()


async def test_a_dead_server_is_known_before_anybody_asks_it(backend):
    """The proxy looks after its servers by itself."""
    async with looking_proxy(two(backend.url)) as client:
        states: list[str] = []
        while sorted(states) != ["down", "ready"]:
            _, answer = await told(client.get("/backends"))
            states = [each["state"] for each in answer["backends"]]
        _, health = await told(client.get("/health"))

    assert (health["healthy_count"], health["unhealthy_count"]) == (1, 1)
    assert all(not each.path.endswith("completions") for each in backend.requests)


def deployment(name: str, host: str, port: int) -> Deployment:
    """One on a server."""
    return Deployment(id=f"id-{name}", group=name, model="m", provider="openai", backend=Backend("http", host, port))


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("id-a", ["id-a"]),
        ("a", ["id-a"]),
        ("gpu:8000", ["id-a", "id-b"]),
        ("GPU:8000", ["id-a", "id-b"]),
        ("gpu:80", ["id-c"]),
        ("gpu", ["id-c"]),
        ("[::1]:1", ["id-d"]),
        ("id-long-na", ["id-long-name"]),
    ],
)
def test_a_name_is_an_id_a_model_or_a_server(name, ids):
    """In this order."""
    table = Table(
        [
            deployment("a", "gpu", 8000),
            deployment("b", "gpu", 8000),
            deployment("c", "gpu", 80),
            deployment("d", "::1", 1),
            deployment("long-name", "far", 1),
        ]
    )

    assert [each.id for each in named(table, name)] == ids


def test_a_name_that_resembles_nothing_is_told_where_they_are_listed():
    """A long one is shortened."""
    with pytest.raises(NotFound, match="GET /backends lists them"):
        named(Table([deployment("a", "gpu", 1)]), "q" * 500)
