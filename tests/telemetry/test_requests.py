"""What the log says of a request: the same for the same, and bounded in what it remembers."""

import json
from typing import Any

import pytest

from proxy_cli.secret import Scrubber, Secret
from proxy_cli.shapes import Backend, Deployment, Record
from proxy_cli.telemetry.masking import Mask
from proxy_cli.telemetry.requests import Requests

SECRET = "a secret nobody would guess"


def fields(requests: Requests, record: Record):
    return json.loads(f"{{{requests.fields(record)}}}")


def test_a_head_is_remembered_for_its_deployment_only():
    """Two deployments under one name are told apart, and the same request is told the same twice."""
    requests = Requests(Mask())
    told = []
    for name in ("one", "two", "one"):
        deployment = Deployment(id=name, group="g", model=name, provider="p", backend=Backend("http", name, 80))
        record = Record(request_id="r", route="/r", model="g", deployment=deployment, status=200)
        told.append((requests.line(record), fields(requests, record)["backend_model"]))

    assert told[0] == told[2]
    assert [model for _, model in told] == ["one", "two", "one"]
    assert "-> two @ http://two" in told[1][0]


def test_a_deployment_that_has_changed_is_told_as_it_is():
    """After a reload the same id may stand for something else."""
    requests = Requests(Mask())
    lines = []
    for model in ("old", "new"):
        deployment = Deployment(id="d", group="g", model=model, provider="p", backend=Backend("http", "h", 80))
        lines.append(requests.line(Record(request_id="r", route="/r", model="g", deployment=deployment)))

    assert ["-> old" in lines[0], "-> new" in lines[1]] == [True, True]


@pytest.mark.row("P-06")
@pytest.mark.parametrize("field", ["request_id", "route", "model", "client", "key", "error"])
def test_no_word_of_a_request_shows_a_secret(field):
    """A known secret in any word is masked, in the line and in the fields, the second time as the first."""
    requests = Requests(Mask(Scrubber([Secret(SECRET)])))
    values: dict[str, Any] = {"request_id": "r", "route": "/", field: f"x {SECRET}"}
    record = Record(**values)

    for _ in range(2):
        assert SECRET not in requests.line(record)
        assert SECRET not in requests.fields(record)
        assert "***" in requests.line(record)


@pytest.mark.row("L-11")
def test_what_is_remembered_is_bounded():
    """A caller who makes up names does not fill the memory."""
    requests = Requests(Mask())

    for number in range(5000):
        requests.line(Record(request_id="r", route=f"/{number}", model=f"m{number}", client=f"c{number}"))

    assert len(requests._heads) <= 1000
    assert len(requests._words) <= 1000


def test_a_mock_says_that_it_is_one():
    """Where no backend was asked, none is named."""
    requests = Requests(Mask())
    deployment = Deployment(
        id="d", group="g", model="m", provider="p", backend=Backend("http", "h", 80), mock_response="hello"
    )
    record = Record(request_id="r", route="/r", model="g", deployment=deployment, status=200, attempts=2)

    assert "-> m @ mock_response" in requests.line(record)
    assert "2 attempts" in requests.line(record)
    assert "backend" not in fields(requests, record)
