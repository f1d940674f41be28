"""Calls and deployments with everything that a test does not speak of filled in."""

from collections.abc import Callable

import msgspec
import pytest

from proxy_cli.secret import Secret
from proxy_cli.shapes import Backend, Call, Deployment, Headers, Json, Operation
from proxy_cli.wire.request import cut, flag, wants_usage
from proxy_cli.wire.steering import controls

KEY = "sk-backend-0123456789"


def call_of(
    operation: Operation = Operation.CHAT, *, raw: bytes | None = None, headers: Headers = (), **fields: Json
) -> Call:
    """A call with these fields, read as the counter reads it; `raw` is the body to the byte."""
    body = raw if raw is not None else msgspec.json.encode({"model": "gpt-3.5-turbo", **fields})
    found = cut(body)
    return Call(
        request_id="r1",
        operation=operation,
        model="gpt-3.5-turbo",
        body=body,
        fields=found,
        stream=flag(found, "stream"),
        wants_usage=wants_usage(found),
        headers=headers,
        controls=controls(found),
    )


def deployment_of(**settings: Json) -> Deployment:
    """A deployment of vicuna-13b on a server of one's own."""
    usual = {
        "id": "d1",
        "group": "gpt-3.5-turbo",
        "model": "vicuna-13b",
        "provider": "openai",
        "backend": Backend("http", "localhost", 20080),
        "base_path": "/v1",
        "api_key": Secret(KEY),
    }
    return Deployment(**{**usual, **settings})


@pytest.fixture
def make_call() -> Callable[..., Call]:
    return call_of


@pytest.fixture
def make_deployment() -> Callable[..., Deployment]:
    return deployment_of
