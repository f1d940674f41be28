import base64
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.routing.estimates import answer_tokens, learn, prompt, tokens
from proxy_cli.shapes import Operation, Usage
from tests.routing.calls import asking, call
from tests.routing.test_table import deployment

ENGLISH = "The quick brown fox jumps over the lazy dog. " * 100
JAPANESE = "いろはにほへとちりぬるを" * 100


def test_english_has_four_bytes_for_a_token():
    """Text in ASCII begins with the mean of English and code."""
    assert tokens(call(asking(ENGLISH)), deployment("a")) == pytest.approx(len(ENGLISH) / 4, rel=0.05)


def test_other_letters_have_fewer_bytes_for_a_token():
    """Of Japanese about one token for a letter is expected, which has three bytes."""
    found = tokens(call(asking(JAPANESE)), deployment("a"))

    assert 0.8 * len(JAPANESE) < found < 1.4 * len(JAPANESE)


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        (Operation.COMPLETIONS, {"prompt": ENGLISH}),
        (Operation.EMBEDDINGS, {"input": ENGLISH}),
        (Operation.RESPONSES, {"instructions": ENGLISH, "input": "go on"}),
        (Operation.CHAT, asking("go on", tools=[{"description": ENGLISH}])),
    ],
)
def test_what_a_model_reads_is_counted_whatever_the_field_is_called(operation, fields):
    """Each operation has its own names for the prompt; tools are part of it."""
    assert prompt(call(fields, operation=operation)).tokens == pytest.approx(len(ENGLISH) / 4, rel=0.05)


def test_a_body_that_is_no_prompt_has_no_tokens():
    """Speech is not paid for by tokens, so no limit on them is used up."""
    assert tokens(call({"input": ENGLISH}, operation=Operation.SPEECH), deployment("a")) == 0


def test_a_picture_is_not_counted_by_the_size_of_its_file():
    """A megabyte of base64 is one picture, and the text beside it is counted as ever."""
    picture = "data:image/png;base64," + base64.b64encode(Random(1).randbytes(1_000_000)).decode()
    parts = [{"type": "text", "text": ENGLISH}, {"type": "image_url", "image_url": {"url": picture}}]

    found = tokens(call({"messages": [{"role": "user", "content": parts}]}), deployment("a"))

    assert len(ENGLISH) / 4 < found < len(ENGLISH) / 4 + 2000


def test_a_long_text_is_no_picture():
    """Text that goes on for long has spaces or escapes, and is counted whole."""
    assert prompt(call(asking(ENGLISH * 20))).pictures == 0


def test_estimates_come_to_what_a_backend_counts():
    """A tokenizer that makes twice the tokens of the guess is known after a few answers."""
    target = deployment("a")
    asked = call(asking(ENGLISH))
    assert tokens(asked, target) < 1200
    for _ in range(20):
        learn(asked, target, Usage(prompt_tokens=2250))

    assert tokens(asked, target) == pytest.approx(2250, rel=0.05)


def test_what_is_learned_of_one_deployment_says_nothing_of_another():
    """Each stands on a tokenizer of its own."""
    asked = call(asking(ENGLISH))
    taught, other = deployment("a"), deployment("b")
    before = tokens(asked, taught), tokens(asked, other)
    learn(asked, taught, Usage(prompt_tokens=5000))

    assert tokens(asked, taught) > before[0]
    assert tokens(asked, other) == before[1]


def test_a_drift_is_followed():
    """After another model was put behind the address, the newest usages win."""
    target = deployment("a")
    asked = call(asking(ENGLISH))
    tokens(asked, target)
    for _ in range(50):
        learn(asked, target, Usage(prompt_tokens=1000))
    for _ in range(50):
        learn(asked, target, Usage(prompt_tokens=2000))

    assert tokens(asked, target) == pytest.approx(2000, rel=0.05)


@pytest.mark.parametrize("usage", [None, Usage(), Usage(completion_tokens=7)])
def test_a_usage_without_prompt_tokens_teaches_nothing(usage):
    """A gap is no count."""
    target = deployment("a")
    asked = call(asking(ENGLISH))
    before = tokens(asked, target)
    learn(asked, target, usage)

    assert tokens(asked, target) == before


def test_a_short_prompt_teaches_nothing():
    """A template of 60 tokens around a word of one would make every text look sixty times as long."""
    target = deployment("a")
    asked = call(asking(ENGLISH))
    before = tokens(asked, target)
    learn(call(asking("hi")), target, Usage(prompt_tokens=60))

    assert tokens(asked, target) == before


def test_nothing_is_learned_where_nobody_estimates():
    """A deployment without limits and windows pays for no estimates: the body is not even looked at."""
    target = deployment("a")
    learn(call(asking(ENGLISH)), target, Usage(prompt_tokens=5000))

    assert not target.worked_out


@given(st.lists(st.integers(1, 10**9), max_size=30))
def test_no_usage_makes_an_estimate_absurd(counts):
    """Whatever a backend says it has counted, the estimate stays within a factor of five of the first guess."""
    target = deployment("a")
    asked = call(asking(ENGLISH))
    guess = tokens(asked, target)
    for count in counts:
        learn(asked, target, Usage(prompt_tokens=count))

    assert guess / 5 - 1 <= tokens(asked, target) <= guess * 5 + 5


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 0),
        ({"max_tokens": 100}, 100),
        ({"max_tokens": None}, 0),
        ({"max_completion_tokens": 200, "max_tokens": 100}, 200),
        ({"max_tokens": "many"}, 0),
        ({"max_tokens": -5}, 0),
        ({"max_tokens": 1.5}, 0),
    ],
)
def test_the_longest_answer_is_what_the_caller_lets_it_be(fields, expected):
    """What is no number says nothing here: the backend refuses it in its own words."""
    assert answer_tokens(call(fields)) == expected
