"""The account of a dry run as people read it."""

import io
from typing import Any

import pytest
from rich.console import Console

from proxy_cli.cli.account import show

CANDIDATE = {
    "id": "first",
    "model": "gpt-a",
    "provider": "openai",
    "address": "http://127.0.0.1:9/v1",
    "kept": True,
    "why": "",
    "score": 1.5,
    "state": "ready",
    "weight": 1.0,
    "order": 1,
    "tags": [],
}
LIMIT = {"name": "rpm", "limit": 5, "in_use": 2, "free": 3}
BODY = {
    "received_bytes": 10,
    "sent_bytes": 12,
    "changes": [{"field": "model", "change": "changed", "before": '"quick"', "after": '"gpt-a"'}],
}
ACCOUNT: dict[str, Any] = {
    "refused": None,
    "requested": {"model": "quick", "in_body": None, "operation": "chat/completions", "stream": True},
    "resolution": {"by": "name", "alias_of": "fast", "group": "fast", "deployments": 2, "words": "an alias of fast"},
    "strategy": "least-busy",
    "candidates": [CANDIDATE, {**CANDIDATE, "id": "b" * 64, "kept": False, "why": "it rests for 3.0 s more"}],
    "limits": [{"id": "first", "in_flight": 1, "waiting": 4, "limits": [LIMIT]}],
    "fallbacks": {
        "any": [{"model": "big", "fields": ["temperature"], "why_not": ""}],
        "context_window": [{"model": "long", "fields": [], "why_not": "no model named 'long'"}],
        "content_policy": [{"model": "big", "fields": ["temperature"], "why_not": ""}],
    },
    "passed_over": [{"model": "quick", "error": "all rest"}],
    "timeouts": {
        "connect_s": 5.0,
        "first_byte_s": 30,
        "total_s": None,
        "gap_s": 120.0,
        "queue_s": 600.0,
        "set_by": "configuration",
    },
    "request": {
        "id": "first",
        "model": "gpt-a",
        "provider": "openai",
        "address": "http://127.0.0.1:9/v1",
        "for": "fast",
        "waits": True,
        "method": "POST",
        "url": "http://127.0.0.1:9/v1/chat/completions",
        "headers": {"accept": "*/*", "authorization": "Bearer ***"},
        "body": BODY,
    },
}


def shown(**changed):
    """The lines of an account, as a pipe gets them."""
    written = io.StringIO()
    show({**ACCOUNT, **changed}, Console(file=written, width=160))
    return written.getvalue()


@pytest.mark.parametrize(
    "words",
    [
        "quick: chat/completions, as a stream",
        "an alias of fast; 2 deployments",
        "Candidates (least-busy)",
        "it rests for 3.0 s more",
        "bbbbbbbbbbbb ",
        "rpm 5",
        "after a failure: big with other temperature",
        "for a longer prompt: long (passed over: no model named 'long')",
        "quick: all rest",
        "5 s to connect, 30 s to the first byte, 120 s between two pieces, 600 s for a place (set by: configuration)",
        "first, as fast, once it has a free place",
        "POST http://127.0.0.1:9/v1/chat/completions",
        "authorization: Bearer ***",
        "10 bytes received, 12 sent",
        '"quick"',
    ],
)
def test_everything_that_decides_is_shown(words):
    """In words, not in the names of fields."""
    assert words in shown()


def test_fallbacks_that_are_the_usual_ones_are_shown_once():
    """Refused content leads where any failure leads."""
    assert "for refused content" not in shown()


def test_a_refusal_comes_last_with_its_wait():
    """And what is not known of a refused request is left out."""
    refused = {"status": 503, "code": "all_out", "message": "nobody is there", "param": None, "retry_after_s": 12.3}

    lines = shown(refused=refused, request=None, timeouts=None, candidates=[], limits=[], resolution=None).splitlines()

    assert lines[-1] == "Refused      503 all_out: nobody is there (try again in 12 s)"
    assert not any(line.startswith(("Sent", "Name", "Candidates")) for line in lines)


def test_a_mock_is_shown_to_send_nothing():
    """With the status that it answers with."""
    mocked = {**ACCOUNT["request"], "url": None, "method": None, "answered_with_status": 200}

    assert "its mock_response answers with status 200" in shown(request=mocked)


def test_a_body_that_is_a_form_is_told_as_one():
    """Its size is not known before it has come."""
    form: dict[str, Any] = {"received_bytes": None, "sent_bytes": None, "changes": [], "note": "a form passes through"}

    lines = shown(request={**ACCOUNT["request"], "body": form})

    assert "a form passes through" in lines
    assert "bytes received" not in lines


def test_no_terminal_acts_on_the_words_of_others():
    """Control characters are written as escapes, and brackets are no markup."""
    hostile = {**CANDIDATE, "kept": False, "why": "\x1b[2J[bold red]gone[/]"}

    lines = shown(candidates=[hostile])

    assert "\x1b" not in lines
    assert "[bold red]gone[/]" in lines
