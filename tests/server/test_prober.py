"""Looks at servers: what is asked of each kind, what comes of it, and that one that hangs keeps nobody waiting."""

import asyncio
import os
import signal
import socket
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random

import pytest
from aiohttp import web

from proxy_cli.errors import BackendBroken
from proxy_cli.routing.fleet import Fleet, Probed
from proxy_cli.routing.rules import Rules
from proxy_cli.secret import Secret
from proxy_cli.server.prober import Prober, Probing, is_looked_at, is_our_own, probing_of
from proxy_cli.server.turn import Turn
from proxy_cli.shapes import Backend, Deployment
from tests.fakes.proxy import prepared

QUICK = Probing(first_s=0.0, ready_s=0.03, other_s=0.02, timeout_s=0.3)
MODELS = {"object": "list", "data": [{"id": "m", "owned_by": "someone"}]}


def deployment(port: int, name: str = "m", **more) -> Deployment:
    """One that stands on a server of this machine."""
    more.setdefault("base_path", "/v1")
    return Deployment(
        id=more.pop("id", name),
        group=name,
        model=name,
        provider="openai",
        backend=Backend("http", more.pop("host", "127.0.0.1"), port),
        **more,
    )


class Server:
    """A server of some kind: its replies by path, and what it was asked."""

    def __init__(self, replies) -> None:
        self.replies = replies
        self.asked: list[str] = []
        self.keys: list[str | None] = []
        self.port = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The reply to this path; 404 for those it does not know."""
        assert request.method == "GET"
        self.asked.append(request.path)
        self.keys.append(request.headers.get("authorization"))
        reply = self.replies.get(request.path, (404, {"error": "no such path"}))
        if callable(reply):
            reply = await reply()
        status, body, *headers = reply
        return web.json_response(body, status=status, headers=dict(headers))


@asynccontextmanager
async def server(replies, port: int = 0):
    """Such a server, while the block runs."""
    found = Server(replies)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, reuse_address=True)
    await site.start()
    found.port = runner.addresses[0][1]
    try:
        yield found
    finally:
        await runner.cleanup()


def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@asynccontextmanager
async def looking(*deployments: Deployment, probing: Probing = QUICK, fleet: Fleet | None = None):
    """A prober at work; gives it and the fleet it tells."""
    fleet = fleet or Fleet(Rules(), clock=time.monotonic, random=Random(1))
    prober = Prober(fleet, Turn("test"), clock=time.monotonic, random=Random(2))
    prober.take(deployments, probing)
    prober.start()
    try:
        yield fleet, prober
    finally:
        await prober.close()


async def soon(what) -> bool:
    """Wait until something is true."""
    until_s = time.monotonic() + 5
    while not what() and time.monotonic() < until_s:
        await asyncio.sleep(0.01)
    return bool(what())


def is_seen(fleet: Fleet, state: Probed, name: str = "m"):
    """Whether a deployment was seen in a state, as a question for `soon`."""
    return lambda: fleet.probed(name)[0] is state


async def test_any_server_is_asked_for_its_models_and_nothing_else():
    """The list of models costs nothing anywhere, and is remembered as what it answers."""
    async with server({"/v1/models": (200, MODELS)}) as here, looking(deployment(here.port)) as (fleet, _):
        assert await soon(is_seen(fleet, Probed.READY))
        assert await soon(lambda: len(here.asked) >= 3)

    assert set(here.asked) == {"/v1/models"}


@pytest.mark.parametrize(
    ("owner", "path", "answers"),
    [("vllm", "/health", {}), ("library", "/api/version", {}), ("sglang", "/v1/models", MODELS)],
)
async def test_a_server_that_is_known_is_asked_what_tells_most(owner, path, answers):
    """SGLang's `/health` generates a token, so its list of models has to do."""
    models = {"data": [{"id": "m", "owned_by": owner}]}
    replies = {"/health": (200, {}), "/v1/models": (200, models), path: (200, answers and models)}
    async with server(replies) as here, looking(deployment(here.port)) as (fleet, _):
        assert await soon(lambda: len(here.asked) >= 4)

    assert fleet.probed("m")[0] is Probed.READY
    assert here.asked[0] == "/v1/models"
    assert set(here.asked[1:]) == {path}


async def test_what_a_server_does_not_know_is_not_held_against_it():
    """Question after question is tried; where none is known, its state is unknown and never down."""
    async with server({}) as here, looking(deployment(here.port)) as (fleet, _):
        assert await soon(lambda: len(here.asked) >= 8)

        assert here.asked[:4] == ["/v1/models", "/health", "/api/version", "/props"]
        assert fleet.probed("m") == (Probed.UNKNOWN, "")


async def test_what_worked_is_remembered():
    """An older server without a list of models is asked for its health from then on."""
    async with server({"/health": (200, {"status": "ok"})}) as here, looking(deployment(here.port)) as (fleet, _):
        assert await soon(lambda: len(here.asked) >= 4)

    assert fleet.probed("m")[0] is Probed.READY
    assert here.asked[:4] == ["/v1/models", "/health", "/health", "/health"]


@pytest.mark.parametrize("status", [401, 403])
async def test_who_refuses_us_is_there(status):
    """A wrong key is for requests to find out."""
    async with server({"/v1/models": (status, {})}) as here, looking(deployment(here.port)) as (fleet, _):
        assert await soon(is_seen(fleet, Probed.READY))


async def test_a_server_that_loads_its_model_is_seen_loading_and_then_ready():
    """llama.cpp shows its models while it loads, so it is asked for its health as well."""
    mark = ("server", "llama.cpp")
    replies = {
        "/v1/models": (200, MODELS, mark),
        "/health": (503, {"error": {"message": "Loading model"}}, mark),
        "/slots": (200, [{"is_processing": False}]),
    }
    async with server(replies) as here, looking(deployment(here.port)) as (fleet, _):
        assert await soon(is_seen(fleet, Probed.LOADING))
        replies["/health"] = (200, {"status": "ok"}, mark)
        assert await soon(is_seen(fleet, Probed.READY))


async def test_a_server_whose_slots_are_all_taken_is_busy():
    """By its slots, or where it does not show them by their number and what we have under way there."""
    mark = ("server", "llama.cpp")
    replies = {
        "/v1/models": (200, MODELS, mark),
        "/health": (200, {"status": "ok"}, mark),
        "/slots": (200, [{"is_processing": True}, {"is_processing": True}]),
    }
    async with server(replies) as here, looking(one := deployment(here.port)) as (fleet, _):
        assert await soon(is_seen(fleet, Probed.BUSY))
        assert fleet.probed("m")[1] == "all its 2 slots are taken"

        replies["/slots"], replies["/props"] = (501, {}), (200, {"total_slots": 1})
        assert await soon(is_seen(fleet, Probed.READY))
        fleet.state(one).begin()
        assert await soon(is_seen(fleet, Probed.BUSY))


async def test_a_server_that_refuses_is_down_after_two_looks_and_comes_back():
    """It may come back as another kind of server, which is asked from the start."""
    port = closed_port()
    async with looking(deployment(port)) as (fleet, _):
        assert await soon(is_seen(fleet, Probed.DOWN))
        assert f"127.0.0.1:{port}" in fleet.probed("m")[1]
        async with server({"/health": (200, {})}, port):
            assert await soon(is_seen(fleet, Probed.READY))
        assert await soon(is_seen(fleet, Probed.DOWN))


async def test_one_failure_alone_is_no_news():
    """A reply that was lost once must not take a server away from its callers."""
    replies = [(200, MODELS), (500, {}), *[(200, MODELS)] * 1000]

    async def next_reply():
        return replies.pop(0)

    seen = []
    async with server({"/v1/models": next_reply}) as here, looking(deployment(here.port)) as (fleet, _):
        while len(here.asked) < 5:
            seen.append(fleet.probed("m")[0])
            await asyncio.sleep(0.005)

    assert Probed.READY in seen
    assert Probed.DOWN not in seen


async def test_a_server_that_hangs_keeps_no_other_waiting():
    """Each is asked by itself; the one that hangs is down when its time has passed twice."""

    async def hang():
        await asyncio.sleep(30)

    async with (
        server({"/v1/models": hang}) as stuck,
        server({"/v1/models": (200, MODELS)}) as well,
        looking(deployment(stuck.port, "stuck"), deployment(well.port, "well")) as (fleet, _),
    ):
        assert await soon(is_seen(fleet, Probed.READY, "well"))
        assert await soon(lambda: len(well.asked) >= 2 * len(stuck.asked) + 2)
        assert await soon(is_seen(fleet, Probed.DOWN, "stuck"))


async def test_a_server_that_is_at_our_work_and_does_not_answer_is_busy():
    """A single-minded server answers nothing while it generates; it must not be taken for dead."""

    async def hang():
        await asyncio.sleep(30)

    fleet = Fleet(Rules(), clock=time.monotonic, random=Random(1))
    async with server({"/v1/models": hang}) as here:
        one = deployment(here.port)
        fleet.state(one).begin()
        async with looking(one, fleet=fleet):
            assert await soon(is_seen(fleet, Probed.BUSY))


async def test_a_server_that_answers_requests_but_no_looks_is_busy():
    """Others may give it so much to do that a look has to wait; what it answers tells that it is not dead."""

    async def hang():
        await asyncio.sleep(30)

    async with server({"/v1/models": hang}) as here, looking(one := deployment(here.port)) as (fleet, _):

        def is_busy_while_it_answers() -> bool:
            fleet.state(one).succeeded(waited_s=0.1, stream=False)
            return fleet.probed("m")[0] is Probed.BUSY

        assert await soon(is_busy_while_it_answers)
        assert await soon(is_seen(fleet, Probed.DOWN))


async def test_deployments_of_one_server_are_found_out_by_one_look():
    """Ten names on one server are no reason to ask it ten times."""
    async with server({"/v1/models": (200, MODELS)}) as here:
        ten = [deployment(here.port, f"m{number}") for number in range(10)]
        async with looking(*ten, probing=replace(QUICK, ready_s=60.0)) as (fleet, _):
            assert await soon(lambda: all(fleet.probed(each.id)[0] is Probed.READY for each in ten))

    assert here.asked == ["/v1/models"]


async def test_the_deployments_own_key_is_shown_and_its_headers():
    """A reverse proxy before a server may want them."""
    async with server({"/v1/models": (200, MODELS)}) as here:
        one = deployment(here.port, api_key=Secret("sk-own"))
        async with looking(one) as (fleet, _):
            assert await soon(is_seen(fleet, Probed.READY))

    assert set(here.keys) == {"Bearer sk-own"}


async def test_only_who_has_the_turn_looks():
    """With several processes a server is asked once, not once by each; who dies is followed by another."""
    turn = Turn("test")
    fleet = Fleet(Rules(), clock=time.monotonic, random=Random(1))
    async with server({"/v1/models": (200, MODELS)}) as here:
        process = held_elsewhere(turn)
        prober = Prober(fleet, turn, clock=time.monotonic, random=Random(2))
        prober.take([deployment(here.port)], QUICK)
        prober.start()
        await asyncio.sleep(0.2)
        assert here.asked == []

        os.kill(process, signal.SIGKILL)
        await asyncio.to_thread(os.waitpid, process, 0)
        assert await soon(is_seen(fleet, Probed.READY))
        await prober.close()


def held_elsewhere(turn: Turn) -> int:
    """A process that has the turn and keeps it until it is killed."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.write(writing, b"1" if turn.take() else b"0")
            signal.pause()
        finally:
            os._exit(0)
    assert os.read(reading, 1) == b"1"
    os.close(reading)
    os.close(writing)
    return process


async def test_a_reload_looks_at_what_is_new_and_forgets_what_is_gone():
    """What was found of a deployment that is looked at no more is nothing to go by."""
    async with server({"/v1/models": (200, MODELS)}) as here:
        former, other = deployment(here.port, "former"), deployment(here.port, "other")
        async with looking(former) as (fleet, prober):
            assert await soon(is_seen(fleet, Probed.READY, "former"))
            prober.take([replace(former, probed=False), other], QUICK)

            assert fleet.probed("former")[0] is Probed.UNKNOWN
            assert await soon(is_seen(fleet, Probed.READY, "other"))
            assert fleet.probed("former")[0] is Probed.UNKNOWN


async def test_a_failure_that_nobody_foresaw_ends_one_look_only(caplog):
    """The server has its next turn, and the failure is in the log."""
    failures = [BackendBroken("x")]

    class Fails(Fleet):
        __slots__ = ()

        def set_probed(self, name, probed, why):
            if failures:
                failures.pop()
                raise ZeroDivisionError
            super().set_probed(name, probed, why)

    fleet = Fails(Rules(), clock=time.monotonic, random=Random(1))
    async with server({"/v1/models": (200, MODELS)}) as here, looking(deployment(here.port), fleet=fleet):
        assert await soon(is_seen(fleet, Probed.READY))

    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("host", "key", "own"),
    [
        ("127.0.0.1", "sk-1", True),
        ("localhost", "sk-1", True),
        ("192.168.1.7", "sk-1", True),
        ("10.0.0.3", None, True),
        ("100.64.1.2", "sk-1", True),
        ("::1", "sk-1", True),
        ("fe80::1%eth0", "sk-1", True),
        ("vllm", "sk-1", True),
        ("gpu1.lan", "sk-1", True),
        ("vllm.models.svc.cluster.local", "sk-1", True),
        ("host.docker.internal", "sk-1", True),
        ("llm.example.com", None, True),
        ("llm.example.com", "sk-1", False),
        ("api.openai.com", "sk-1", False),
        ("8.8.8.8", None, True),
        ("8.8.8.8", "sk-1", False),
    ],
)
def test_only_our_own_servers_are_looked_at(host, key, own):
    """Those in a network of one's own, and those that are open to all; not a public service that wants a key."""
    one = deployment(443, host=host, api_key=Secret(key) if key else None)

    assert is_our_own(one) is own
    assert is_looked_at(one, Probing()) is own


@pytest.mark.parametrize(
    ("more", "probing"),
    [({}, Probing(wanted=False)), ({"probed": False}, Probing()), ({"mock_response": "x"}, Probing())],
)
def test_what_is_not_to_be_looked_at_is_left_alone(more, probing):
    """By the settings, by its entry, or because there is nothing to look at."""
    assert is_looked_at(deployment(1), Probing())
    assert not is_looked_at(deployment(1, **more), probing)


@pytest.mark.parametrize(
    ("text", "probing"),
    [
        ("", Probing()),
        ("background_health_checks: false", Probing(wanted=False)),
        ("health_check_interval: 300", Probing(ready_s=300.0)),
        ("health_check_interval: 4", Probing(ready_s=4.0, other_s=4.0)),
    ],
)
def test_the_settings_say_whether_and_how_often(text, probing):
    """A server that is ill is never looked at more seldom than one that is well."""
    setup = prepared(f"""
        model_list:
          - {{model_name: a, litellm_params: {{model: openai/a, mock_response: x}}}}
        general_settings: {{{text}}}
    """)

    assert probing_of(setup.config.general_settings) == probing


async def test_of_thousands_of_servers_a_hundred_are_looked_at_at_once():
    """Each look takes a connection, and callers need some too; the others come next."""
    held, most = asyncio.Event(), 0

    async def hold():
        nonlocal most
        most = max(most, len(here.asked))
        await held.wait()
        return 200, MODELS

    async with server({f"/{number}/v1/models": hold for number in range(130)}) as here:
        many = [deployment(here.port, f"m{number}", base_path=f"/{number}/v1") for number in range(130)]
        async with looking(*many, probing=Probing(first_s=0.0, timeout_s=5.0)) as (fleet, _):
            assert await soon(lambda: len(here.asked) == 100)
            await asyncio.sleep(0.05)
            assert most == 100
            held.set()
            assert await soon(lambda: len(here.asked) == 130)
            assert await soon(is_seen(fleet, Probed.READY, "m129"))
