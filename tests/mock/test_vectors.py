"""Embeddings, rerankings and moderations: right in shape, the same each time."""

import base64
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.mock.vectors import embeddings, inputs, moderations, rerank, vector


@given(st.text(), st.integers(1, 100))
def test_vector_is_of_length_one_and_depends_on_the_text_alone(text, dimensions):
    """Any text gets a unit vector of the size asked for, the same each time."""
    numbers = vector(text, dimensions)

    assert len(numbers) == dimensions
    assert math.sqrt(sum(number * number for number in numbers)) == pytest.approx(1, abs=1e-6)
    assert numbers == vector(text, dimensions)


def test_base64_holds_the_same_numbers():
    """Both encodings carry exactly the same float32 values."""
    body = {"model": "e", "input": "日本", "dimensions": 20}
    plain = embeddings(body, "日本")["data"][0]["embedding"]
    packed = embeddings({**body, "encoding_format": "base64"}, "日本")["data"][0]["embedding"]

    assert list(struct.unpack("<20f", base64.b64decode(packed))) == plain


@pytest.mark.parametrize(
    ("value", "count"), [("text", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2), ([], 0), (None, 0)]
)
def test_inputs_are_counted_in_every_form(value, count):
    """One text, several, tokens, several lists of tokens."""
    assert len(inputs(value, "text")) == count


def test_rerank_sorts_cuts_and_returns_documents():
    """Best first, at most `top_n`, with the texts where they were asked for."""
    body = {"query": "砂丘", "documents": ["海", {"text": "砂丘"}, "砂"], "top_n": 2, "return_documents": True}
    results = rerank(body)["results"]

    assert [result["index"] for result in results] == [1, 2]
    assert results[0] == {"index": 1, "relevance_score": 1.0, "document": {"text": "砂丘"}}


def test_moderation_flags_what_it_is_told_to():
    """Each input has its own verdict."""
    results = moderations({"input": ["fine", "please flag-me"]})["results"]

    assert [result["flagged"] for result in results] == [False, True]
