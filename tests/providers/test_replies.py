"""Whole replies as answers."""

import json

import pytest

from proxy_cli.errors import BackendBroken, BackendError
from proxy_cli.providers.replies import read_reply, spoken
from proxy_cli.shapes import Operation, Usage

JSON = (("content-type", "application/json"),)


@pytest.mark.row("S-27")
def test_reply_keeps_every_byte_but_the_models_name(make_call, make_deployment):
    """The name asked for is shown, and whatever else the backend says stays as it wrote it."""
    usage = b'"usage":{"prompt_tokens":5,"completion_tokens":2}'
    body = b'{"id":"1", "model" :"vicuna-13b","vendor":{"model":"x"},"n":1.0,' + usage + b"}"

    answer = read_reply(make_call(), make_deployment(), 200, JSON, body)

    assert answer.body == body.replace(b'"vicuna-13b"', b'"gpt-3.5-turbo"')
    assert answer.usage == Usage(prompt_tokens=5, completion_tokens=2)
    assert ("content-type", "application/json") in answer.headers


@pytest.mark.parametrize("body", [b'{"data":[]}', b'{"model":null}', b'{"model":7}'])
def test_reply_without_a_models_name_gets_none(make_call, make_deployment, body):
    """Nothing is added that the backend did not say."""
    assert read_reply(make_call(), make_deployment(), 200, JSON, body).body == body


@pytest.mark.parametrize(
    ("operation", "headers", "body"),
    [
        (Operation.SPEECH, (("content-type", "audio/mpeg"),), b"ID3\x00\xff"),
        (Operation.TRANSCRIPTIONS, (("content-type", "text/plain"),), "こんにちは".encode()),
        (Operation.TRANSLATIONS, (), b"1\n00:00 --> 00:01\nhi"),
    ],
)
def test_reply_that_is_not_json_where_none_is_due_passes(make_call, make_deployment, operation, headers, body):
    """Sound and plain transcripts are not looked into."""
    assert read_reply(make_call(operation), make_deployment(), 200, headers, body).body == body


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"a":', b'"text"', b"[1,"])
def test_reply_that_should_be_json_and_is_not_is_broken(make_call, make_deployment, body):
    """A good status with no answer in it is the backend's error."""
    with pytest.raises(BackendBroken) as error:
        read_reply(make_call(), make_deployment(), 200, JSON, body)

    assert error.value.code == "upstream_invalid_json"


def test_reply_with_an_error_status_is_raised(make_call, make_deployment):
    """From 300 on there is no answer."""
    with pytest.raises(BackendError) as error:
        read_reply(make_call(), make_deployment(), 503, JSON, b'{"error":"busy"}')

    assert (error.value.status, error.value.message) == (503, "busy")


@pytest.mark.parametrize(
    ("operation", "reply", "usage"),
    [
        (Operation.EMBEDDINGS, {"usage": {"prompt_tokens": 3, "total_tokens": 3}}, Usage(prompt_tokens=3)),
        (Operation.RERANK, {"meta": {"billed_units": {"search_units": 2}}}, Usage(queries=2)),
        (Operation.RERANK, {"results": []}, Usage(queries=1)),
        (Operation.RERANK, {"meta": "odd", "usage": {"total_tokens": 9}}, Usage(queries=1, prompt_tokens=9)),
        (Operation.RERANK, [{"index": 0}], Usage(queries=1)),
        (Operation.IMAGE_GENERATIONS, {"data": [{"url": "a"}, {"url": "b"}]}, Usage(images=2)),
        (Operation.IMAGE_EDITS, {"data": None}, Usage()),
        (Operation.IMAGE_EDITS, {"data": [{}], "size": "9x9"}, Usage(images=1, picture="/9x9")),
        (Operation.IMAGE_EDITS, {"data": [{}], "size": "9x9", "quality": "hd"}, Usage(images=1, picture="hd/9x9")),
        (Operation.CHAT, {"usage": {"prompt_tokens": 1}, "service_tier": "flex"}, Usage(1, tier="flex")),
        (Operation.CHAT, {"usage": {"input_tokens": 1}, "service_tier": "priority"}, Usage(1, tier="priority")),
        (Operation.CHAT, {"usage": {"prompt_tokens": 1}, "service_tier": 7}, Usage(1)),
        (Operation.TRANSCRIPTIONS, {"text": "a", "duration": 2.5}, Usage(seconds=2.5)),
        (Operation.TRANSCRIPTIONS, {"duration": 9, "usage": {"type": "duration", "seconds": 3}}, Usage(seconds=3.0)),
        (Operation.TRANSCRIPTIONS, {"text": "a", "duration": "long"}, None),
        (Operation.CHAT, {"choices": []}, None),
        (Operation.CHAT, [1], None),
    ],
)
def test_reply_is_counted_in_the_unit_of_its_endpoint(make_call, make_deployment, operation, reply, usage):
    """Tokens where the backend counts them; else queries, pictures or seconds."""
    answer = read_reply(make_call(operation), make_deployment(), 200, JSON, json.dumps(reply).encode())

    assert answer.usage == usage


def test_spoken_counts_the_characters_that_were_asked_for(make_call):
    """Sound does not say what it cost; the request does."""
    assert spoken(make_call(Operation.SPEECH, input="こんにちは")) == Usage(characters=5)
    assert spoken(make_call(Operation.SPEECH)) is None
    assert spoken(make_call(Operation.TRANSCRIPTIONS, input="x")) is None


@pytest.mark.parametrize("label", [(), (("content-type", "text/plain"),), (("content-type", "text/html"),)])
def test_what_was_read_as_json_is_labelled_as_json(make_call, make_deployment, label):
    """Clients believe the label: openai-python would hand out a text."""
    answer = read_reply(make_call(), make_deployment(), 200, label, b'{"model":"x"}')

    assert [value for name, value in answer.headers if name == "content-type"] == ["application/json"]
