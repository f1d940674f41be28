"""The bodies that mock_response makes up."""

import base64
import io
import json
import struct
import wave

import pytest

from proxy_cli.providers.mock_replies import body, events, silence
from proxy_cli.shapes import Operation


@pytest.mark.parametrize(("given", "number"), [("a", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2), ([], 0)])
def test_embeddings_are_one_vector_for_each_text(make_call, given, number):
    """A list of numbers is one text in tokens; a list of lists or of texts is several."""
    made = body(make_call(Operation.EMBEDDINGS, input=given), "x")["data"]

    assert [each["index"] for each in made] == list(range(number))
    assert all(len(each["embedding"]) == 1536 for each in made)


def test_embeddings_follow_from_the_text_alone(make_call):
    """The same text has the same vector of length one, another text another."""
    one, again, other = (
        body(make_call(Operation.EMBEDDINGS, input=text), "x")["data"][0]["embedding"] for text in ("a", "a", "b")
    )

    assert one == again != other
    assert sum(value * value for value in one) == pytest.approx(1.0, abs=1e-4)


def test_embeddings_in_base64_are_the_same_floats(make_call):
    """Packed as little-endian floats, as the openai client asks for them, in the dimensions asked for."""
    plain = body(make_call(Operation.EMBEDDINGS, input="a", dimensions=8), "x")["data"][0]["embedding"]
    packed = body(make_call(Operation.EMBEDDINGS, input="a", dimensions=8, encoding_format="base64"), "x")

    floats = struct.unpack("<8f", base64.b64decode(packed["data"][0]["embedding"]))

    assert floats == pytest.approx(plain, abs=1e-6)


@pytest.mark.parametrize("dimensions", [0, -1, 10**9, "8", True])
def test_embeddings_of_impossible_dimensions_are_of_the_usual(make_call, dimensions):
    """A number that nobody could mean does not cost memory."""
    made = body(make_call(Operation.EMBEDDINGS, input="a", dimensions=dimensions), "x")

    assert len(made["data"][0]["embedding"]) == 1536


@pytest.mark.parametrize("operation", [Operation.CHAT, Operation.COMPLETIONS])
def test_choices_are_as_many_as_asked_for(make_call, operation):
    """`n` is honoured, plain and streamed."""
    call = make_call(operation, n=2)

    ends = [
        choice["index"]
        for event in events(call, "hello")[:-1]
        for choice in json.loads(event[6:])["choices"]
        if choice["finish_reason"]
    ]

    assert [choice["index"] for choice in body(call, "hello")["choices"]] == ends == [0, 1]


def test_completion_events_make_up_the_text(make_call):
    """The pieces of a completion, put together, are it."""
    made = events(make_call(Operation.COMPLETIONS), "The quick brown fox")

    pieces = [json.loads(event[6:])["choices"] for event in made[:-1]]
    assert "".join(choice["text"] for choices in pieces for choice in choices) == "The quick brown fox"
    assert made[-1] == b"data: [DONE]\n\n"


def test_response_events_end_with_the_whole_response(make_call):
    """Each has its name and number; the deltas make up the text that the last one holds."""
    made = events(make_call(Operation.RESPONSES), "The quick brown fox")

    parts = [event.split(b"\n")[:2] for event in made]
    data = [json.loads(line[6:]) for _, line in parts]
    assert [name.decode() for name, _ in parts] == [f"event: {each['type']}" for each in data]
    assert [each["sequence_number"] for each in data] == list(range(len(data)))
    assert "".join(each.get("delta", "") for each in data) == "The quick brown fox"
    assert data[-1]["type"] == "response.completed"
    assert data[-1]["response"]["output"][0]["content"][0]["text"] == "The quick brown fox"


def test_rerank_scores_fall_and_stop_at_top_n(make_call):
    """Documents come back in their order, as many as asked for."""
    made = body(make_call(Operation.RERANK, query="q", documents=["a", "b", "c"], top_n=2), "x")["results"]

    assert [each["index"] for each in made] == [0, 1]
    assert made[0]["relevance_score"] > made[1]["relevance_score"]
    assert len(body(make_call(Operation.RERANK, documents=["a", "b"]), "x")["results"]) == 2


@pytest.mark.parametrize(("text", "field"), [("https://x.example/a.png", "url"), ("a cat", "b64_json")])
def test_images_are_an_address_or_a_pixel(make_call, text, field):
    """An address is given as it is; other words become a picture that can be decoded."""
    made = body(make_call(Operation.IMAGE_GENERATIONS, n=2), text)["data"]

    assert len(made) == 2
    if field == "url":
        assert made[0] == {"url": text}
    else:
        assert base64.b64decode(made[0]["b64_json"], validate=True).startswith(b"\x89PNG")


@pytest.mark.parametrize("operation", [Operation.TRANSCRIPTIONS, Operation.TRANSLATIONS])
def test_transcripts_are_the_text(make_call, operation):
    """What was heard is what was set."""
    assert body(make_call(operation), "hi") == {"text": "hi"}


def test_moderation_flags_nothing_once_for_each_input(make_call):
    """One verdict a text."""
    made = body(make_call(Operation.MODERATIONS, input=["a", "b"]), "x")["results"]

    assert [each["flagged"] for each in made] == [False, False]


def test_silence_is_a_wav_file():
    """Players can read it."""
    with wave.open(io.BytesIO(silence())) as sound:
        assert sound.getnframes() == 800
        assert sound.getframerate() == 8000
