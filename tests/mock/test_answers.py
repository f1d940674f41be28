"""The tables of answers: every operation has one, and streams carry their faults where asked."""

import json

import pytest

from proxy_cli.mock.answers import Asked, lines, whole
from proxy_cli.mock.faults import NO_FAULTS, Faults
from proxy_cli.shapes import Json, Operation


def asked(operation: Operation = Operation.CHAT, faults: Faults = NO_FAULTS, **body: Json) -> Asked:
    return Asked(operation, {"model": "m", **body}, "日本の首都", faults, "http://here")


@pytest.mark.parametrize("operation", list(Operation))
def test_every_operation_has_a_plain_answer(operation):
    """No operation is without an answer, and JSON is JSON in which Japanese stays readable."""
    content_type, body = whole(asked(operation))

    if content_type == "application/json":
        assert json.loads(body)
        assert b"\\u" not in body
    else:
        assert body


@pytest.mark.parametrize("operation", [Operation.CHAT, Operation.COMPLETIONS, Operation.RESPONSES])
def test_streams_are_events_that_end_in_their_own_way(operation):
    """Chat and completions end with [DONE], the Responses dialect with its last event."""
    events = list(lines(asked(operation, stream=True)))

    assert all(event.endswith(b"\n\n") for event in events)
    assert (events[-1] == b"data: [DONE]\n\n") == (operation is not Operation.RESPONSES)


def test_only_operations_with_events_stream():
    """`stream: true` on an operation that has no events is answered plainly."""
    assert asked(stream=True).stream
    assert not asked(Operation.EMBEDDINGS, stream=True).stream


@pytest.mark.parametrize("text", ["text", "srt", "vtt"])
def test_transcription_in_a_text_format_is_text(text):
    """What is asked for as text comes as text."""
    content_type, body = whole(asked(Operation.TRANSCRIPTIONS, response_format=text))

    assert content_type.startswith("text/plain")
    assert body == b"no file"


def test_error_event_ends_the_content():
    """After the error nothing but the end mark comes."""
    events = list(lines(asked(faults=Faults(error_event=2))))

    assert len(events) == 4
    assert json.loads(events[2].removeprefix(b"data: "))["error"]["code"] == 500
