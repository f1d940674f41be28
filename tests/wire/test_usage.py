"""Usage: read whatever way it is written, and never a reason to fail."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.shapes import Usage
from proxy_cli.wire.usage import usage_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
NAMES = st.sampled_from(
    ["prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "prompt_tokens_details", "seconds"]
)


def read(**found: object) -> Usage | None:
    return usage_of(json.dumps(found).encode())


def test_chat_usage_is_read_with_its_details():
    """OpenAI's chat spelling."""
    assert read(
        prompt_tokens=10,
        completion_tokens=20,
        total_tokens=30,
        prompt_tokens_details={"cached_tokens": 4, "audio_tokens": 2},
        completion_tokens_details={"reasoning_tokens": 7, "audio_tokens": 3, "accepted_prediction_tokens": 0},
    ) == Usage(
        prompt_tokens=10,
        completion_tokens=20,
        cached_tokens=4,
        reasoning_tokens=7,
        audio_prompt_tokens=2,
        audio_completion_tokens=3,
    )


def test_responses_usage_is_read_with_its_details():
    """OpenAI's newer spelling."""
    assert read(
        input_tokens=10,
        input_tokens_details={"cached_tokens": 4},
        output_tokens=20,
        output_tokens_details={"reasoning_tokens": 7},
        total_tokens=30,
    ) == Usage(prompt_tokens=10, completion_tokens=20, cached_tokens=4, reasoning_tokens=7)


def test_audio_and_embedding_usage_are_read():
    """Transcriptions count seconds or tokens, embeddings the prompt, rerankers the total alone."""
    assert read(type="duration", seconds=12.5) == Usage(seconds=12.5)
    assert read(input_tokens=14, input_token_details={"audio_tokens": 14}, output_tokens=45) == Usage(
        prompt_tokens=14, completion_tokens=45, audio_prompt_tokens=14
    )
    assert read(prompt_tokens=8, total_tokens=8) == Usage(prompt_tokens=8)
    assert read(total_tokens=26) == Usage(prompt_tokens=26)
    assert read(total_tokens=26, completion_tokens=6) == Usage(prompt_tokens=20, completion_tokens=6)
    assert read(prompt_tokens=5, cache_read_input_tokens=2, cache_creation_input_tokens=3) == Usage(
        prompt_tokens=5, cached_tokens=2, cache_creation_tokens=3
    )


def test_a_zero_is_a_value():
    """Nothing generated is not the same as nothing known."""
    assert read(prompt_tokens=0, completion_tokens=0, total_tokens=9) == Usage()
    assert read(prompt_tokens=3, completion_tokens=0, prompt_tokens_details={"cached_tokens": 0}) == Usage(
        prompt_tokens=3
    )


@pytest.mark.parametrize(
    "raw", [None, b"null", b"{}", b"[]", b"5", b'"x"', b"{", b'{"prompt_tokens": null}', b'{"a": "\xff"}']
)
def test_what_counts_nothing_is_none(raw):
    """Null, empty, broken and foreign alike."""
    assert usage_of(raw) is None


def test_odd_numbers_are_made_harmless():
    """A negative count would be a credit, and one past 63 bits cannot be stored."""
    assert read(prompt_tokens=-5, completion_tokens="7") == Usage(prompt_tokens=0, completion_tokens=7)
    assert read(prompt_tokens=2**80, completion_tokens=3.0) == Usage(prompt_tokens=2**63 - 1, completion_tokens=3)
    assert read(prompt_tokens="many", completion_tokens=True, total_tokens=4) == Usage(prompt_tokens=4)
    assert read(prompt_tokens=1, prompt_tokens_details=None, completion_tokens_details=[1]) == Usage(prompt_tokens=1)


def test_raw_fields_are_read_too():
    """As they come out of a body that was cut."""
    assert usage_of(msgspec.Raw(b'{"prompt_tokens": 1}')) == Usage(prompt_tokens=1)


@given(st.dictionaries(NAMES, JSON))
def test_any_usage_is_none_or_never_negative(found):
    """Whatever a backend writes there."""
    usage = usage_of(json.dumps(found).encode("utf-8", "replace"))

    assert usage is None or min(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) >= 0


@pytest.mark.parametrize(("count", "kept"), [(-1, 0), (2**63, 2**63 - 1), (2**64, 2**63 - 1), (None, 0), (3.0, 3)])
def test_counts_that_cannot_be_are_held_to_what_can(count, kept):
    """On either side, and in the details."""
    assert read(prompt_tokens=1, completion_tokens=count) == Usage(1, kept)
    assert read(prompt_tokens=5, prompt_tokens_details={"cached_tokens": count}) == Usage(5, cached_tokens=kept)


PLAIN_COUNTS = st.none() | st.integers(-2, 3) | st.integers(2**62, 2**65) | st.sampled_from(["7", 1.0, 2.5, True])
DETAILS = st.none() | st.dictionaries(
    st.sampled_from(["cached_tokens", "audio_tokens", "reasoning_tokens", "text_tokens"]), PLAIN_COUNTS
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "prompt_tokens": PLAIN_COUNTS,
            "completion_tokens": PLAIN_COUNTS,
            "total_tokens": PLAIN_COUNTS,
            "prompt_tokens_details": DETAILS,
            "completion_tokens_details": DETAILS,
        },
    )
)
def test_a_usage_means_the_same_with_a_field_that_nobody_knows(found):
    """The short way for OpenAI's own spelling counts as the long way does, to which an unknown field leads."""
    assert read(**found) == read(**found, unknown=1)
