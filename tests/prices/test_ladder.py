"""Whose word counts for what an answer has used."""

import msgspec
import pytest

from proxy_cli.prices.ladder import answers, asked_units, counted
from proxy_cli.shapes import Call, Operation, Usage


def call(operation=Operation.CHAT, **fields):
    return Call(
        request_id="1",
        operation=operation,
        model="m",
        body=b"",
        fields={name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()},
    )


ASKED = call(messages="x" * 38)  # ten tokens
SEEN = (5, 500)  # five events


@pytest.mark.row("U-29")
@pytest.mark.parametrize(
    ("usage", "whole", "used", "source"),
    [
        (Usage(3, 4), True, Usage(3, 4), "provider"),
        (Usage(3, 4), False, Usage(3, 4), "partial"),
        (None, True, Usage(10, 5, problem="missing"), "estimate"),
        (None, False, Usage(10, 5, problem="missing"), "estimate"),
        (Usage(0, 7, problem="negative"), True, Usage(10, 7, problem="negative"), "estimate"),
        (Usage(3, 0, problem="too_large"), True, Usage(3, 5, problem="too_large"), "estimate"),
        (Usage(3, 4, problem="text"), True, Usage(3, 4, problem="text"), "provider"),
        (Usage(5, 4, 9, problem="parts"), True, Usage(5, 4, 9, problem="parts"), "provider"),
        (Usage(5, 0, problem="falling"), False, Usage(5, 0, problem="falling"), "partial"),
    ],
)
def test_the_backends_word_goes_before_a_guess(usage, whole, used, source):
    """A count that cannot be is guessed; everything else is as the backend says."""
    assert counted(ASKED, usage, SEEN, whole=whole) == (used, source)


@pytest.mark.row("S-07")
@pytest.mark.parametrize("whole", [True, False])
def test_a_zero_of_the_backend_is_a_count(whole):
    """It is not the same as nothing said."""
    assert counted(ASKED, Usage(), SEEN, whole=whole).usage == Usage()


@pytest.mark.parametrize(("reserved", "source"), [(0, "none"), (5, "reserved")])
def test_what_has_no_tokens_to_guess_is_charged_as_reserved(reserved, source):
    """A transcript in plain text does not say how long the recording was."""
    heard = call(Operation.TRANSCRIPTIONS)

    assert counted(heard, None, (1, 50), whole=True, reserved_nano=reserved) == (None, source)


def test_a_bad_count_of_what_cannot_be_guessed_stays():
    """There is nothing better."""
    usage = Usage(0, 0, seconds=2.0, problem="negative")

    assert counted(call(Operation.TRANSCRIPTIONS), usage, (1, 50), whole=True) == (usage, "estimate")


def test_a_search_is_counted_where_the_backend_does_not():
    """One for each answer of a model that was told how to search; the backend's own count goes first."""
    asked = call(messages="x", web_search_options={"search_context_size": "high"})

    assert counted(asked, Usage(1), SEEN, whole=True).usage == Usage(1, searches=1, search_size="high")
    assert counted(asked, Usage(1, searches=3), SEEN, whole=True).usage == Usage(1, searches=3)
    assert counted(call(web_search_options=None), Usage(1), SEEN, whole=True).usage == Usage(1)


@pytest.mark.parametrize(
    ("asked", "units"),
    [
        (call(messages="x"), None),
        (call(service_tier="priority"), Usage(tier="priority")),
        (call(service_tier="auto"), Usage()),
        (call(web_search_options={}), Usage(searches=1)),
        (call(Operation.IMAGE_GENERATIONS), Usage(images=1)),
        (call(Operation.IMAGE_GENERATIONS, n=4, size="1024x1024"), Usage(images=4, picture="/1024x1024")),
        (call(Operation.IMAGE_EDITS, n="2", size="1024x1024", quality="hd"), Usage(images=2, picture="hd/1024x1024")),
        (call(Operation.IMAGE_GENERATIONS, n=10**9), Usage(images=100)),
        (call(Operation.IMAGE_GENERATIONS, n=-1), Usage(images=1)),
        (call(Operation.SPEECH, input="hello"), Usage(characters=5)),
        (call(Operation.SPEECH, input=7), Usage()),
        (call(Operation.RERANK), Usage(queries=1)),
    ],
)
def test_what_a_call_asks_for_is_known_before_it_is_sent(asked, units):
    """So that it can be reserved."""
    assert asked_units(asked) == units


@pytest.mark.row("B-04")
@pytest.mark.parametrize(
    ("asked", "count"),
    [
        (call(messages="x"), 1),
        (call(n=5), 5),
        (call(n=None), 1),
        (call(n=-5), 1),
        (call(n="many"), 1),
        (call(n=10**30), 1024),
        (call(n=True), 1),
        (call(Operation.COMPLETIONS, prompt="x", n=2, best_of=4), 4),
        (call(Operation.COMPLETIONS, prompt=["x", "y", "z"], n=2), 6),
        (call(Operation.COMPLETIONS, prompt=[1, 2, 3]), 1),
        (call(Operation.COMPLETIONS, prompt=[[1, 2], [3]]), 2),
        (call(Operation.COMPLETIONS, prompt=[]), 1),
        (call(Operation.RESPONSES, n=5), 1),
    ],
)
def test_a_call_for_several_answers_may_cost_as_many(asked, count):
    """Each may be as long as the caller allows."""
    assert answers(asked) == count


def test_a_field_that_is_no_json_asks_for_nothing():
    """It is refused elsewhere."""
    broken = msgspec.structs.replace(ASKED, fields={"service_tier": msgspec.Raw(b"{")})

    assert asked_units(broken) == Usage()
