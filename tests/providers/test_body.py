"""The body that a backend gets."""

import json
from collections.abc import Mapping

import pytest

from proxy_cli.providers.body import adds_stream_usage, request_body
from proxy_cli.shapes import Backend, BodySource, Call, Deployment, Json, Operation


def sent(call: Call, deployment: Deployment, *, ask_usage: bool = True) -> Json:
    """What the backend would decode."""
    body = request_body(call, deployment, ask_usage=ask_usage)
    assert isinstance(body, bytes)
    return json.loads(body)


@pytest.mark.row("H-06")
def test_body_keeps_every_byte_but_the_model(make_call, make_deployment):
    """Spaces, order, escapes, Japanese, unknown fields and a `"model":` inside of text stay as they came."""
    message = '{"role":"user","content":"日本 \\u65e5 \\"model\\": \\"x\\""}'
    raw = f'{{ "messages":[{message}],\n "model" : "gpt-3.5-turbo", "top_k":1.50 }}'

    body = request_body(make_call(raw=raw.encode()), make_deployment(), ask_usage=True)

    assert body == raw.replace('"gpt-3.5-turbo"', '"vicuna-13b"').encode()


def test_body_without_a_model_gets_one(make_call, make_deployment):
    """A call whose model stands in the path has it in the body for the backend."""
    assert sent(make_call(raw=b'{"input":"x"}'), make_deployment()) == {"input": "x", "model": "vicuna-13b"}


def test_body_has_no_steering_fields(make_call, make_deployment):
    """What is for us is not sent on; what only looks like it is."""
    call = make_call(timeout=3, num_retries=2, tags=["a"], metadata={"k": "v"})

    assert sent(call, make_deployment()) == {"model": "vicuna-13b", "metadata": {"k": "v"}}


def test_body_takes_defaults_where_the_caller_is_silent(make_call, make_deployment):
    """A deployment's default gives way to the caller's field, also to a limit under its other name."""
    target = make_deployment(defaults={"temperature": 0.1, "max_tokens": 9, "top_k": 3})

    got = sent(make_call(temperature=0.9, max_completion_tokens=50), target)

    assert got == {"model": "vicuna-13b", "temperature": 0.9, "max_completion_tokens": 50, "top_k": 3}


@pytest.mark.parametrize(
    ("operation", "limit"), [(Operation.CHAT, "max_tokens"), (Operation.RESPONSES, "max_output_tokens")]
)
def test_body_takes_forced_fields_whatever_the_caller_says(make_call, make_deployment, operation, limit):
    """Forced fields win, and the limit goes by the name that the endpoint has for it, once."""
    target = make_deployment(forced={"temperature": 0.0, "max_tokens": 5})

    got = sent(make_call(operation, temperature=1.5, max_completion_tokens=100), target)

    assert got == {"model": "vicuna-13b", "temperature": 0.0, limit: 5}


def test_body_of_embeddings_is_not_forced(make_call, make_deployment):
    """A temperature has no meaning for an embedding, and some backends refuse it."""
    target = make_deployment(forced={"temperature": 0.0, "max_tokens": 5})

    assert sent(make_call(Operation.EMBEDDINGS, input="x"), target) == {"model": "vicuna-13b", "input": "x"}


def test_body_leaves_out_what_the_target_does_not_take(make_call, make_deployment):
    """With drop_params the field is gone, wherever it came from."""
    target = make_deployment(refuses=frozenset({"user", "seed"}), drop_params=True, defaults={"seed": 1})

    assert sent(make_call(user="me", n=1), target) == {"model": "vicuna-13b", "n": 1}


def test_body_of_a_refused_default_goes_out_where_nothing_is_dropped(make_call, make_deployment):
    """Without drop_params the configuration's own field is its owner's word."""
    target = make_deployment(refuses=frozenset({"seed"}), defaults={"seed": 1})

    assert sent(make_call(), target) == {"model": "vicuna-13b", "seed": 1}


@pytest.mark.parametrize(
    ("paths", "tools"),
    [
        (["tools[*].strict"], [{"name": "a"}, {"name": "b"}]),
        (["tools[1].strict"], [{"name": "a", "strict": True}, {"name": "b"}]),
        (["tools[0]"], [{"name": "b", "strict": True}]),
        (["tools[9].strict", "tools.name", "tools[*].no.where"], None),
        (["tools[*].strict", "tools[*].name"], [{}, {}]),
        (["tools"], "gone"),
        (["model"], None),
    ],
)
def test_body_leaves_out_additional_fields_also_inside_of_others(make_call, make_deployment, paths, tools):
    """A path names a field, or what is in it; one that leads nowhere changes nothing; the model is never dropped."""
    given = [{"name": "a", "strict": True}, {"name": "b", "strict": True}]

    got = sent(make_call(tools=given), make_deployment(additional_drop_params=tuple(paths)))

    expected = {"model": "vicuna-13b", "tools": given if tools is None else tools}
    assert got == ({"model": "vicuna-13b"} if tools == "gone" else expected)


def test_body_leaves_out_additional_fields_of_the_request(make_call, make_deployment):
    """The caller may name fields too, and defaults are dropped as well."""
    call = make_call(additional_drop_params=["user", "seed"], user="me")

    assert sent(call, make_deployment(defaults={"seed": 1})) == {"model": "vicuna-13b"}


def test_body_calls_fields_as_the_target_does(make_call, make_deployment):
    """A renamed field keeps its bytes; one that the caller has named so already is left alone."""
    openai = make_deployment(model="gpt-5.1", backend=Backend("https", "api.openai.com", 443))

    assert sent(make_call(max_tokens=7), openai) == {"model": "gpt-5.1", "max_completion_tokens": 7}
    assert sent(make_call(max_tokens=7, max_completion_tokens=8), openai) == {
        "model": "gpt-5.1",
        "max_completion_tokens": 8,
    }
    assert sent(make_call(seed=3), make_deployment(provider="mistral")) == {"model": "vicuna-13b", "random_seed": 3}


@pytest.mark.parametrize("operation", [Operation.CHAT, Operation.COMPLETIONS])
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"include_usage": True}),
        ({"stream_options": None}, {"include_usage": True}),
        ({"stream_options": {"a": 1}}, {"a": 1, "include_usage": True}),
        ({"stream_options": {"include_usage": False}}, {"include_usage": True}),
        ({"stream_options": {"include_usage": True, "a": 1}}, {"include_usage": True, "a": 1}),
    ],
)
def test_body_of_a_stream_asks_for_usage(make_call, make_deployment, operation, given, expected):
    """Usage is asked for beside whatever else the caller has set."""
    got = sent(make_call(operation, stream=True, **given), make_deployment())

    assert got["stream_options"] == expected


@pytest.mark.parametrize(
    ("operation", "stream", "ask"),
    [
        (Operation.CHAT, False, True),
        (Operation.CHAT, True, False),
        (Operation.RESPONSES, True, True),
        (Operation.SPEECH, True, True),
    ],
)
def test_body_asks_for_usage_only_where_it_can_be_had(make_call, make_deployment, operation, stream, ask):
    """Not of a plain call, not of a backend that refuses it, not of an endpoint that has no such option."""
    call = make_call(operation, stream=stream)

    assert "stream_options" not in sent(call, make_deployment(), ask_usage=ask)


def test_usage_is_asked_for_where_a_setting_wants_it(make_call, make_deployment):
    """The caller gets it without a word of his own, so the backend has to be asked."""
    call = make_call(stream=True, wants_usage=True)

    assert sent(call, make_deployment(), ask_usage=True)["stream_options"] == {"include_usage": True}


def test_usage_is_added_by_us_only_where_the_caller_has_no_stream_options(make_call):
    """Only then can the backend's refusal be undone by asking again without them."""
    assert adds_stream_usage(make_call(stream=True))
    assert not adds_stream_usage(make_call(stream=True, stream_options={"include_usage": True}))
    assert not adds_stream_usage(make_call(stream=True, stream_options={"include_usage": False}))
    assert not adds_stream_usage(make_call())


class Form:
    """A multipart body that notes how it is rewritten."""

    content_type = "multipart/form-data; boundary=x"

    def __init__(self) -> None:
        self.asked: tuple[str, dict[str, str]] | None = None

    def rewritten(self, model: str, defaults: Mapping[str, str]) -> BodySource:
        self.asked = (model, dict(defaults))
        return self

    @property
    def length(self) -> int | None:
        return 0

    async def read(self) -> bytes:
        return b""

    def close(self) -> None:
        pass


def test_body_of_a_form_is_rewritten_as_it_passes(make_deployment):
    """The form gets the backend's model name, and defaults as text."""
    form = Form()
    call = Call(request_id="r", operation=Operation.TRANSCRIPTIONS, model="w", body=form)
    defaults = {"language": "ja", "temperature": 0, "stream": False}

    body = request_body(call, make_deployment(model="whisper-1", defaults=defaults), ask_usage=True)

    assert body is form
    assert form.asked == ("whisper-1", {"language": "ja", "temperature": "0", "stream": "false"})
