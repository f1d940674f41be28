"""The default dialect, and the contract of every provider in the table."""

import json
import re

import msgspec
import pytest

from proxy_cli.providers.catalog import ROWS
from proxy_cli.providers.compatible import OpenAICompatible
from proxy_cli.providers.passing import PassingStream
from proxy_cli.providers.table import PROVIDERS
from proxy_cli.secret import Secret
from proxy_cli.shapes import Operation, UpstreamRequest, Usage
from proxy_cli.wire.completion import ChatStream, ResponsesStream


@pytest.mark.parametrize("provider", ROWS)
def test_every_provider_sends_the_call_with_its_own_key_and_model(make_call, make_deployment, provider):
    """On each endpoint an absolute path, the backend's key and only that, and the backend's name for the model."""
    target = make_deployment(provider=provider, model="org/m-1", api_key=Secret("sk-backend"))

    for operation in Operation:
        call = make_call(operation, headers=(("authorization", "Bearer sk-client"),), input="x")
        request = PROVIDERS[provider].prepare(call, target, ask_usage=True)

        assert isinstance(request, UpstreamRequest)
        assert isinstance(request.body, bytes)
        assert request.backend == target.backend
        assert re.fullmatch(r"/[!-~]*", request.target)
        assert request.target.partition("?")[0].endswith(f"/{operation.value}")
        keys = [(name, value) for name, value in request.headers if name in ("authorization", "api-key", "x-api-key")]
        assert keys == [("api-key", "sk-backend") if provider == "azure" else ("authorization", "Bearer sk-backend")]
        assert json.loads(request.body)["model"] == "org/m-1"
        assert "sk-client" not in repr(request)


@pytest.mark.parametrize("provider", ROWS)
@pytest.mark.parametrize("asked_instead", ["", "another"])
def test_every_provider_shows_the_name_that_was_asked_for(make_call, make_deployment, provider, asked_instead):
    """Plain and streamed, the backend's own name stays behind, and so does that of a fallback."""
    dialect, target = PROVIDERS[provider], make_deployment(provider=provider)
    call = make_call(stream=True)
    if asked_instead:
        call = msgspec.structs.replace(call, model=asked_instead, named=call.model)

    plain = dialect.read(call, target, 200, (), b'{"model":"vicuna-13b"}')
    reader = dialect.stream_reader(call, target)
    streamed = reader.feed(b'data: {"model":"vicuna-13b","choices":[{}]}\n\ndata: [DONE]\n\n')

    assert plain.body == b'{"model":"gpt-3.5-turbo"}'
    assert streamed == b'data: {"model":"gpt-3.5-turbo","choices":[{}]}\n\ndata: [DONE]\n\n'
    assert reader.finished


def test_compatible_goes_below_the_base(make_call, make_deployment):
    """The path is the base's and the endpoint's; a base without a path has none."""
    dialect, call = OpenAICompatible(), make_call(Operation.RERANK)

    for base_path, target in (("/v1", "/v1/rerank"), ("", "/rerank"), ("/a/b", "/a/b/rerank")):
        request = dialect.prepare(call, make_deployment(base_path=base_path), ask_usage=True)
        assert isinstance(request, UpstreamRequest)
        assert request.target == target


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        (Operation.CHAT, ChatStream),
        (Operation.COMPLETIONS, ChatStream),
        (Operation.RESPONSES, ResponsesStream),
        (Operation.SPEECH, PassingStream),
        (Operation.TRANSCRIPTIONS, PassingStream),
        (Operation.IMAGE_GENERATIONS, PassingStream),
    ],
)
def test_compatible_reads_each_stream_as_what_it_is(make_call, make_deployment, operation, kind):
    """Chats and responses have a dialect; everything else passes."""
    assert type(OpenAICompatible().stream_reader(make_call(operation), make_deployment())) is kind


@pytest.mark.parametrize("wants", [True, False])
def test_compatible_keeps_the_usage_chunk_for_who_asked(make_call, make_deployment, wants):
    """It is counted either way."""
    options = {"stream_options": {"include_usage": True}} if wants else {}
    reader = OpenAICompatible().stream_reader(make_call(stream=True, **options), make_deployment())

    chunk = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}\n\n'

    assert reader.feed(chunk) == (chunk if wants else b"")
    assert reader.usage == Usage(prompt_tokens=5, completion_tokens=2)


def test_compatible_counts_spoken_characters_in_a_stream(make_call, make_deployment):
    """Sound passes; what it costs is in the request."""
    reader = OpenAICompatible().stream_reader(make_call(Operation.SPEECH, input="abc"), make_deployment())

    assert reader.usage == Usage(characters=3)
