"""What a server's replies say of it: by the replies that each kind of server is known to give."""

import json

import pytest

from proxy_cli.routing.fleet import Probed
from proxy_cli.server.sightings import (
    OTHERS,
    OWN,
    Reply,
    Software,
    of_slots,
    read,
    read_properties,
    read_slots,
    software_of,
)


def listed(owner: str, *headers: tuple[str, str]) -> Reply:
    """A list of one model."""
    return Reply(200, headers, json.dumps({"object": "list", "data": [{"id": "m", "owned_by": owner}]}).encode())


@pytest.mark.parametrize(
    ("reply", "software"),
    [
        (listed("vllm"), Software.VLLM),
        (listed("sglang"), Software.SGLANG),
        (listed("library"), Software.OLLAMA),
        (listed("llamacpp"), Software.LLAMA_CPP),
        (listed("me", ("server", "llama.cpp")), Software.LLAMA_CPP),
        (listed("openai", ("x-litellm-version", "1.80")), Software.PROXY),
        (listed("openai", ("server", "llmproxy")), Software.PROXY),
        (listed("organization_owner"), Software.OTHER),
        (Reply(200, (), b'{"data": []}'), Software.OTHER),
        (Reply(200, (), b'{"data": [{"owned_by": 1}]}'), Software.OTHER),
        (Reply(200, (), b"<html>"), Software.OTHER),
        (Reply(200, (), b"\xff"), Software.OTHER),
        (Reply(200, (), b"[" * 100_000), Software.OTHER),
    ],
)
def test_a_server_is_known_by_its_list_of_models(reply, software):
    """By who it says owns the models, or by its own headers; anything else is something else."""
    assert software_of(reply) is software


def test_servers_whose_health_costs_them_something_are_not_asked_for_it():
    """SGLang generates a token for `/health`, and a proxy asks all of its models."""
    assert Software.SGLANG not in OWN
    assert OWN[Software.PROXY] != "/health"
    assert all("generate" not in path and "completion" not in path for path in (*OWN.values(), *OTHERS))


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [
        (200, b"", Probed.READY),
        (302, b"", Probed.READY),
        (401, b"", Probed.READY),
        (403, b"", Probed.READY),
        (429, b"", Probed.BUSY),
        (503, b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}', Probed.LOADING),
        (503, b'{"status": "loading model"}', Probed.LOADING),
        (503, b"Server is starting", Probed.LOADING),
        (503, b'{"status":"no slot available"}', Probed.BUSY),
        (503, b"the server is draining", Probed.DRAINING),
        (503, b'{"status":"shutting_down"}', Probed.DRAINING),
        (503, b"", Probed.DOWN),
        (500, b"loading", Probed.DOWN),
        (502, b"Bad Gateway", Probed.DOWN),
    ],
)
def test_a_reply_says_how_a_server_is(status, body, state):
    """Who refuses us is there; 503 has many meanings, told by its words."""
    sighting = read(Reply(status, (), body), "/health")

    assert sighting is not None
    assert sighting.state is state
    assert bool(sighting.why) is (state is not Probed.READY)


@pytest.mark.parametrize("status", [400, 404, 405, 501])
def test_a_question_that_is_not_known_says_nothing(status):
    """It is no reason to take a server for dead, nor for well."""
    assert read(Reply(status), "/health") is None


@pytest.mark.parametrize(
    ("reply", "slots"),
    [
        (Reply(200, (), b'[{"id":0,"is_processing":false},{"id":1,"is_processing":true}]'), (1, 2)),
        (Reply(200, (), b'[{"id":0,"is_processing":true}]'), (0, 1)),
        (Reply(200, (), b"[]"), None),
        (Reply(200, (), b"[1]"), None),
        (Reply(200, (), b'{"error": 1}'), None),
        (Reply(501, (), b'[{"id":0,"is_processing":true}]'), None),
    ],
)
def test_slots_are_counted_where_they_are_shown(reply, slots):
    """Idle ones and all; anything else is no answer."""
    assert read_slots(reply) == slots


@pytest.mark.parametrize(
    ("body", "total"), [(b'{"total_slots": 4}', 4), (b'{"total_slots": true}', None), (b"{}", None), (b"[]", None)]
)
def test_properties_tell_the_number_of_slots(body, total):
    """Where the slots themselves are not shown."""
    assert read_properties(Reply(200, (), body)) == total


def test_a_server_without_an_idle_slot_is_busy():
    """It can be asked, but others first."""
    assert of_slots(1, 2).state is Probed.READY
    assert of_slots(0, 2) == (Probed.BUSY, "all its 2 slots are taken")
    assert of_slots(0, 1) == (Probed.BUSY, "its one slot is taken")
