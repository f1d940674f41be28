"""The smoke request: what it shows, and what its exit code says."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from proxy_cli.cli.client import ClientOptions
from proxy_cli.cli.test import run
from proxy_cli.mock.faults import Faults
from tests.cli.test_client import closed_port
from tests.fakes.backend import RunningBackend, running_backend


@pytest.fixture
async def backend() -> AsyncIterator[RunningBackend]:
    """An OpenAI-compatible server with two models."""
    async with running_backend(models=("kanban", "other")) as running:
        yield running


async def smoke(backend: RunningBackend, **options: object) -> int:
    """Run the command against a server; its exit code."""
    return await asyncio.to_thread(run, ClientOptions(url=backend.url, **options))  # type: ignore[arg-type]


async def test_it_asks_the_first_model_plain_and_streamed(backend, capsys):
    """Both requests go to the first of /v1/models, and their answers, times and token rates are shown."""
    status = await smoke(backend)

    asked = [seen.body for seen in backend.requests if seen.body]
    shown = capsys.readouterr().out
    assert status == 0
    assert [body["model"] for body in asked] == ["kanban", "kanban"]
    assert [body.get("stream", False) for body in asked] == [False, True]
    assert "first token after" in shown
    assert shown.count("tokens/s") == 2


async def test_it_asks_the_model_that_is_named(backend):
    """--model goes out as it is, and the list of models is not needed."""
    status = await smoke(backend, model="other")

    assert status == 0
    assert {seen.body["model"] for seen in backend.requests} == {"other"}


async def test_json_holds_both_results(backend, capsys):
    """--json prints one object with the answers and their numbers, and nothing else."""
    status = await smoke(backend, json=True)

    told = json.loads(capsys.readouterr().out)
    plain, stream = told["requests"]
    assert status == 0
    assert told["ok"] is True
    assert told["model"] == "kanban"
    assert plain["answer"] == stream["answer"] != ""
    assert plain["first_token_s"] is None
    assert 0 < stream["first_token_s"] <= stream["latency_s"]
    assert stream["completion_tokens"] == plain["completion_tokens"] > 0


async def test_a_model_that_is_not_there_fails_with_the_servers_words(backend, capsys):
    """An error reply ends the test with exit code 1 and the message of the server."""
    status = await smoke(backend, model="nobody")

    assert status == 1
    assert "failed: the proxy answered 404 Not Found: The model `nobody` does not exist." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("faults", "why"),
    [
        (Faults(cut=2), "broke off before its answer was complete"),
        (Faults(no_done=True), "the stream ended without [DONE]"),
        (Faults(error_event=1), "the stream carried an error: "),
    ],
)
async def test_a_stream_that_does_not_end_well_fails(faults, why, capsys):
    """A stream that breaks, ends without its mark or carries an error is no success."""
    async with running_backend(models=("kanban",), faults=faults) as backend:
        status = await smoke(backend)

    shown = capsys.readouterr().out
    assert status == 1
    assert "failed: " in shown
    assert why in shown


async def test_a_list_of_patterns_asks_for_a_name(capsys):
    """A proxy that lists only wildcards cannot be tested without --model, and that is said."""
    async with running_backend(models=("openai/*",)) as backend:
        status = await smoke(backend)

    assert status == 1
    assert "--model NAME" in capsys.readouterr().err


def test_a_proxy_that_does_not_run_is_one_sentence(capsys):
    """Connection refused: one sentence on standard error, exit code 1."""
    status = run(ClientOptions(port=closed_port()))

    captured = capsys.readouterr()
    assert status == 1
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "connection refused" in captured.err


def test_a_proxy_that_does_not_run_is_json_too(capsys):
    """With --json a failure is an object as well."""
    status = run(ClientOptions(port=closed_port(), json=True))

    told = json.loads(capsys.readouterr().out)
    assert status == 1
    assert told["ok"] is False
    assert "connection refused" in told["error"]
