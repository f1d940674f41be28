"""Requests made calls."""

import json

import pytest

from proxy_cli.errors import InvalidRequest
from proxy_cli.routing.table import Table
from proxy_cli.server.calls import Calls, Limits
from proxy_cli.server.routes import Match, Route
from proxy_cli.shapes import Operation, Record
from tests.providers.conftest import deployment_of

CHAT = Match(Route("POST", "/v1/chat/completions", "inference", "", "", operation=Operation.CHAT))


def called(body, headers=(), match=CHAT, **limits):
    """The call of a body."""
    calls = Calls(Table([deployment_of()]), limits=Limits(**limits))
    return calls.of_json(
        match, Record(request_id="r", route="/", started_s=5.0), headers, json.dumps(body).encode(), "/"
    )


def test_a_call_says_what_the_body_says():
    """Its model, whether it streams, and whether usage is wanted."""
    call = called(
        {"model": "m", "messages": [], "stream": True, "stream_options": {"include_usage": True}},
        headers=(("x-litellm-timeout", "3"),),
    )

    assert (call.request_id, call.model, call.stream, call.wants_usage) == ("r", "m", True, True)
    assert (call.controls.timeout_s, call.received_s) == (3.0, 5.0)


def test_the_body_wins_over_the_header():
    """The closer word counts."""
    call = called({"model": "m", "messages": [], "timeout": 2}, headers=(("x-litellm-timeout", "3"),))

    assert call.controls.timeout_s == 2


def test_who_may_not_set_tags_is_told_so():
    """Wherever they stand: in the body, in its metadata, in the header."""
    for body, headers in (
        ({"tags": ["a"]}, ()),
        ({"metadata": {"tags": ["a"]}}, ()),
        ({}, (("x-litellm-tags", "a"),)),
    ):
        with pytest.raises(InvalidRequest, match="tags are set by the proxy only"):
            called({"model": "m", "messages": [], **body}, headers=headers, refuses_tags=True)

    assert called({"model": "m", "messages": []}, refuses_tags=True).controls.tags == ()


def test_failures_are_played_where_the_operator_permits_it():
    """Else the field is refused like any other of the operator's."""
    body = {"model": "m", "messages": [], "mock_testing_fallbacks": True}

    call = called(body, permitted=frozenset({"mock_testing_fallbacks"}))

    assert call.controls.mock_failures == {"mock_testing_fallbacks"}
    with pytest.raises(InvalidRequest, match="only the proxy's configuration may set it"):
        called(body)


def test_fallbacks_by_name_are_those_of_the_model_that_is_used():
    """Which the path or a setting may have named."""
    body = {"model": "m", "messages": [], "fallbacks": [{"p": ["x"]}, {"m": ["y"]}]}

    (target,) = called(body, match=Match(CHAT.route, model="p")).controls.fallbacks

    assert target.model == "x"


def test_a_key_in_a_header_of_the_teams_own_goes_by_a_name_that_is_known_for_keys():
    """So that it is masked and never sent on."""
    call = called({"model": "m", "messages": []}, headers=(("x-team", "sk-1"),), key_header="x-team")

    assert call.headers == (("x-litellm-api-key", "sk-1"),)


@pytest.mark.row("H-08")
@pytest.mark.parametrize(
    ("body", "param"),
    [({"model": "m"}, "messages"), ({"messages": []}, "model"), ({"model": 5, "messages": []}, "model")],
)
def test_what_is_missing_is_named(body, param):
    """With the field at fault."""
    with pytest.raises(InvalidRequest) as caught:
        called(body)

    assert caught.value.param == param


def test_a_name_in_the_path_wins():
    """As it does for clients of Azure."""
    assert called({"model": "m", "messages": []}, match=Match(CHAT.route, model="p")).model == "p"
