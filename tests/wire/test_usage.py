"""Usage: read whatever way it is written, and never a reason to fail."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.shapes import Usage
from proxy_cli.wire.usage import answer_usage, later, usage_of

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


@pytest.mark.row("U-29")
@pytest.mark.parametrize(
    ("found", "usage"),
    [
        ({"prompt_tokens": -5, "completion_tokens": 7}, Usage(0, 7, problem="negative")),
        ({"prompt_tokens": 5, "completion_tokens": -7}, Usage(5, 0, problem="negative")),
        ({"prompt_tokens": 5, "completion_tokens": "7"}, Usage(5, 7, problem="text")),
        ({"prompt_tokens": "many", "completion_tokens": True, "total_tokens": 4}, Usage(4, problem="text")),
        ({"prompt_tokens": 2**80, "completion_tokens": 3.0}, Usage(0, 3, problem="too_large")),
        ({"prompt_tokens": 2**63, "completion_tokens": 3}, Usage(0, 3, problem="too_large")),
        ({"prompt_tokens": 10**9, "completion_tokens": 3}, Usage(10**9, 3)),
        ({"prompt_tokens": 10**9 + 1, "total_tokens": 5}, Usage(5, problem="too_large")),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9}}, Usage(5, 0, 9, problem="parts")),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": -9}}, Usage(5, problem="negative")),
        ({"prompt_tokens": 1, "prompt_tokens_details": None, "completion_tokens_details": [1]}, Usage(1)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage()),
        ({"prompt_tokens": -1, "completion_tokens": -1}, None),
        ({"prompt_tokens": None, "completion_tokens": None}, None),
    ],
)
def test_a_count_that_cannot_be_is_none_and_told(found, usage):
    """A negative one would be a credit, and one that no model reads a bill that nobody can pay."""
    assert read(**found) == usage


@pytest.mark.row("B-14")
@pytest.mark.parametrize(
    ("found", "usage"),
    [
        # Anthropic: what was read from the cache, and put there, stands beside the prompt.
        (
            {"input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 30, "output_tokens": 7},
            Usage(140, 7, cached_tokens=100, cache_creation_tokens=30),
        ),
        (
            {
                "input_tokens": 1,
                "output_tokens": 2,
                "cache_creation_input_tokens": 30,
                "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
            },
            Usage(31, 2, cache_creation_tokens=30, cache_creation_hour_tokens=20),
        ),
        # The same answer in OpenAI's words, as other gateways write it: inside of it.
        (
            {
                "prompt_tokens": 140,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 30,
                "completion_tokens": 7,
            },
            Usage(140, 7, cached_tokens=100, cache_creation_tokens=30),
        ),
        # DeepSeek
        (
            {"prompt_tokens": 10, "prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 6, "completion_tokens": 1},
            Usage(10, 1, cached_tokens=4),
        ),
        # OpenRouter
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 1,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 5},
            },
            Usage(10, 1, cached_tokens=4, cache_creation_tokens=5),
        ),
        # xAI: thinking beside the answer
        (
            {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "total_tokens": 341,
                "completion_tokens_details": {"reasoning_tokens": 300},
            },
            Usage(32, 309, reasoning_tokens=300),
        ),
        # OpenAI: inside of it
        (
            {
                "prompt_tokens": 32,
                "completion_tokens": 309,
                "total_tokens": 341,
                "completion_tokens_details": {"reasoning_tokens": 300},
            },
            Usage(32, 309, reasoning_tokens=300),
        ),
        # Perplexity
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 50,
                "total_tokens": 59,
                "search_context_size": "low",
                "num_search_queries": 2,
            },
            Usage(9, 50, searches=2, search_size="low"),
        ),
        (
            {"input_tokens": 3, "output_tokens": 4, "server_tool_use": {"web_search_requests": 5}},
            Usage(3, 4, searches=5),
        ),
        # Pictures
        (
            {
                "input_tokens": 50,
                "output_tokens": 272,
                "total_tokens": 322,
                "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
            },
            Usage(50, 272, image_prompt_tokens=40),
        ),
        (
            {"prompt_tokens": 50, "completion_tokens": 272, "completion_tokens_details": {"image_tokens": 258}},
            Usage(50, 272, image_completion_tokens=258),
        ),
    ],
)
def test_the_parts_are_inside_of_the_whole_whoever_counts(found, usage):
    """Each dialect's usage means the same once it is read."""
    assert read(**found) == usage


@pytest.mark.parametrize(
    ("raw", "tier"),
    [
        (b'"flex"', "flex"),
        (b'"default"', ""),
        (b'"auto"', ""),
        (b"null", ""),
        (b"7", ""),
        (b"{", ""),
        (b'"' + b"x" * 99 + b'"', ""),
    ],
)
def test_the_tier_of_service_is_the_one_in_the_answer(raw, tier):
    """The usual tier is none."""
    fields = {"usage": msgspec.Raw(b'{"prompt_tokens": 1}'), "service_tier": msgspec.Raw(raw)}

    assert answer_usage(fields) == Usage(1, tier=tier)
    assert answer_usage({"service_tier": msgspec.Raw(raw)}) is None


@pytest.mark.row("U-29")
@pytest.mark.parametrize(
    ("before", "now", "kept"),
    [
        (None, Usage(), Usage()),
        (Usage(5), Usage(5, 9), Usage(5, 9)),
        (Usage(5, 9), Usage(9, 5), Usage(9, 5)),
        (Usage(5, 9), Usage(5, 0), Usage(5, 9, problem="falling")),
        (Usage(5, 9), Usage(), Usage(5, 9, problem="falling")),
    ],
)
def test_the_last_usage_of_a_stream_counts_unless_it_counts_less(before, now, kept):
    """What was used cannot become less."""
    assert later(before, now) == kept


def test_raw_fields_are_read_too():
    """As they come out of a body that was cut."""
    assert usage_of(msgspec.Raw(b'{"prompt_tokens": 1}')) == Usage(prompt_tokens=1)


@given(st.dictionaries(NAMES, JSON))
def test_any_usage_is_none_or_never_negative(found):
    """Whatever a backend writes there."""
    usage = usage_of(json.dumps(found).encode("utf-8", "replace"))

    assert usage is None or min(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) >= 0


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
