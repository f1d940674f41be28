"""What differs between the body that came and the one that is sent, and the headers beside it."""

from proxy_cli.providers.table import provider_for
from proxy_cli.server.differences import differences, shortened, shown_headers
from proxy_cli.shapes import Backend, Deployment
from proxy_cli.wire.request import cut
from proxy_cli.wire.skeleton import Spanned
from proxy_cli.wire.splice import Spliced
from tests.routing.calls import asking, call

BACKEND = Backend("http", "localhost", 20080)


def deployment(**more):
    """A deployment of another name than the one asked for."""
    return Deployment(id="1", group="a", model="other", provider="openai", backend=BACKEND, **more)


def changes(asked, target):
    """Field to kind of change, value before and value after, as the provider sends it."""
    request = provider_for(target).prepare(asked, target, ask_usage=True)
    return {
        each["field"]: (each["change"], each["before"], each["after"])
        for each in differences(asked, target, request.body)["changes"]
    }


def test_each_field_is_added_changed_or_removed():
    """And what goes through as it came is not named."""
    asked = call(asking("hi", top_k=4, n=1), stream=True)
    target = deployment(defaults={"temperature": 0.5}, additional_drop_params=("top_k",))

    assert changes(asked, target) == {
        "model": ("changed", '"a"', '"other"'),
        "temperature": ("added", None, "0.5"),
        "stream_options": ("added", None, '{"include_usage":true}'),
        "top_k": ("removed", "4", None),
    }


def test_a_body_that_is_sent_as_it_came_has_no_differences():
    """Only its size is told."""
    asked = call(asking("hi"), model="other")

    told = differences(asked, deployment(), asked.body)

    assert told == {"received_bytes": len(asked.body), "sent_bytes": len(asked.body), "changes": []}


def test_a_large_body_that_is_sent_in_pieces_is_compared_as_a_whole():
    """Its long field goes through and is not among the differences."""
    asked = call(asking("x" * 2_000_000))
    asked = type(asked)(request_id="r", operation=asked.operation, model="a", body=asked.body, fields=cut(asked.body))
    request = provider_for(deployment()).prepare(asked, deployment(), ask_usage=True)

    told = differences(asked, deployment(), request.body)

    assert isinstance(asked.fields, Spanned)
    assert isinstance(request.body, Spliced)
    assert [each["field"] for each in told["changes"]] == ["model"]
    assert told["sent_bytes"] == len(asked.body) + len("other") - len("a")


def test_a_long_value_is_shown_by_its_beginning_and_its_length():
    """A short one as it is, also where it is Japanese."""
    assert shortened('"こんにちは"'.encode()) == '"こんにちは"'
    assert shortened(b"1" * 500) == f"{'1' * 120}… (500 bytes)"


def test_no_header_shows_a_credential():
    """Neither the usual ones nor one whose name only sounds like it; all others are as they are sent."""
    shown = shown_headers(
        (
            ("authorization", "Bearer sk-0123456789abcdef"),
            ("api-key", "0123456789abcdef"),
            ("x-team-token", "0123456789abcdef"),
            ("x-team", "search"),
        )
    )

    assert shown == {"authorization": "Bearer ***", "api-key": "***", "x-team-token": "***", "x-team": "search"}
