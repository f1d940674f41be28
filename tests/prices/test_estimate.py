"""Guesses in place of a usage that nobody counted."""

import msgspec
import pytest

from proxy_cli.prices.estimate import estimated, tokens_in
from proxy_cli.shapes import Call, Operation, Usage


def call(operation, **fields):
    return Call(
        request_id="1",
        operation=operation,
        model="m",
        body=b"",
        fields={name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()},
    )


@pytest.mark.parametrize(
    ("asked", "used"),
    [
        (call(Operation.CHAT, messages="x" * 38, temperature=1), Usage(10, 5)),
        (call(Operation.CHAT, messages="x" * 38, tools="y" * 38), Usage(20, 5)),
        (call(Operation.COMPLETIONS, prompt=""), Usage(1, 5)),
        (call(Operation.RESPONSES, input="x" * 35), Usage(10, 5)),
        (call(Operation.EMBEDDINGS, input="x" * 38), Usage(10, 0)),
        (call(Operation.SPEECH, input="x" * 38), None),
    ],
)
def test_a_prompt_is_counted_by_its_length(asked, used):
    """Four bytes a token, of the fields that are read by the model, where tokens are what is used."""
    assert estimated(asked, 5) == used


def test_a_picture_is_not_counted_by_its_length():
    """A megabyte of base64 is no quarter of a million tokens."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    found = estimated(call(Operation.CHAT, messages=[{"role": "user", "content": [picture]}]), 0)

    assert found is not None
    assert 6 <= found.prompt_tokens < 40


def test_a_text_is_counted_whatever_it_looks_like():
    """Else whoever leaves each stream before its end has his prompts for nothing."""
    text = "a word " * 1000 + "A" * 2000 + "a word " * 1000
    found = estimated(call(Operation.CHAT, messages=[{"role": "user", "content": text}]), 0)

    assert found is not None
    assert found.prompt_tokens > len(text) // 4


@pytest.mark.parametrize(("pieces", "size", "tokens"), [(0, 0, 0), (50, 10_000, 50), (1, 400 + 4000, 1000)])
def test_a_token_an_event_is_the_rule_and_long_events_count_for_more(pieces, size, tokens):
    """The frame of an event is no text."""
    assert tokens_in(pieces, size) == tokens


@pytest.mark.row("L-07")
@pytest.mark.parametrize("text", ["日本語", "word ", "A B", '"\\'])
def test_a_long_text_is_counted_by_its_length_without_being_read(text):
    """Ten megabytes cost no more than to find their ends."""
    asked = call(Operation.CHAT, messages=text * 1_000_000)

    usage = estimated(asked, 0)

    assert usage is not None
    assert usage.prompt_tokens == -(-len(bytes(asked.fields["messages"])) // 4)
