"""Real clients through the proxy: openai-python as its users use it."""

import openai
import pytest

from tests.fakes.backend import running_backend
from tests.fakes.proxy import running_proxy
from tests.server.conftest import seed_like

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


@pytest.fixture
async def client():
    """openai-python against llmproxy against the mock backend."""
    async with running_backend() as backend, running_proxy(seed_like(backend.url)) as proxy:
        async with openai.AsyncOpenAI(base_url=f"{proxy.origin}/v1", api_key="None", max_retries=0) as openai_client:
            yield openai_client


def ask(text):
    return {"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": text}]}


async def test_chat(client):
    """A whole answer, Japanese intact."""
    answer = await client.chat.completions.create(**ask("日本の都道府県名を1つ"))

    assert answer.model == "gpt-3.5-turbo"
    assert "日本の都道府県名を1つ" in answer.choices[0].message.content
    assert answer.usage.total_tokens > 0


async def test_stream(client):
    """Pieces that join to the whole answer, with usage when asked for."""
    whole = await client.chat.completions.create(**ask("こんにちは"))
    stream = await client.chat.completions.create(
        **ask("こんにちは"), stream=True, stream_options={"include_usage": True}
    )
    text, usage = "", None
    async for event in stream:
        usage = event.usage or usage
        text += event.choices[0].delta.content or "" if event.choices else ""

    assert text == whole.choices[0].message.content
    assert usage is not None
    assert usage.total_tokens == whole.usage.total_tokens


@pytest.mark.parametrize("streamed", [False, True])
async def test_tools(client, streamed):
    """A call with its arguments, whole and in pieces."""
    request = {**ask("[[mock tool=get_weather]] Tokyo"), "tools": TOOLS}
    if streamed:
        async with client.chat.completions.stream(**request) as stream:
            answer = await stream.get_final_completion()
    else:
        answer = await client.chat.completions.create(**request)

    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert answer.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("encoding", ["float", "base64", None])
async def test_embeddings(client, encoding):
    """Floats, whichever way they travel."""
    more = {"encoding_format": encoding} if encoding else {}
    answer = await client.embeddings.create(model="text-embedding-ada-002", input=["query: 夕飯はお肉です。"], **more)

    assert answer.model == "text-embedding-ada-002"
    assert len(answer.data[0].embedding) > 3


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
async def test_errors_of_the_backend_are_typed_exceptions(client, status, kind):
    """Every status becomes the exception that the client's users catch."""
    with pytest.raises(kind) as caught:
        await client.chat.completions.create(**ask(f"[[mock status={status}]]"))

    assert caught.value.status_code == status
    assert caught.value.request_id


async def test_an_unknown_model_is_a_bad_request(client):
    """With the name of the field."""
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="nope", messages=[])

    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"


async def test_an_error_inside_a_stream_is_raised(client):
    """openai-python reads the error event."""
    stream = await client.chat.completions.create(**ask("[[mock cut=2]]"), stream=True)

    with pytest.raises(openai.APIError):
        async for _ in stream:
            pass


async def test_the_models_are_listed(client):
    """As the client's pages."""
    listed = [model.id async for model in client.models.list()]

    assert listed[:2] == ["gpt-3.5-turbo", "text-embedding-ada-002"]


async def test_responses(client):
    """The Responses endpoint of a backend that has it, whole and streamed."""
    answer = await client.responses.create(model="gpt-3.5-turbo", input="こんにちは")
    assert answer.model == "gpt-3.5-turbo"
    assert "こんにちは" in answer.output_text

    async with client.responses.stream(model="gpt-3.5-turbo", input="こんにちは") as stream:
        final = await stream.get_final_response()
    assert final.output_text == answer.output_text


async def test_audio_and_images(client):
    """Forms and bytes, as the client sends and reads them."""
    sound = await client.audio.speech.create(model="gpt-3.5-turbo", input="a", voice="alloy")
    assert (await sound.aread())[:4] == b"RIFF"

    text = await client.audio.transcriptions.create(model="gpt-3.5-turbo", file=("声.wav", b"abc"))
    assert "3 bytes" in text.text

    image = await client.images.generate(model="gpt-3.5-turbo", prompt="a dot")
    assert image.data

    edited = await client.images.edit(model="gpt-3.5-turbo", image=("a.png", b"abc"), prompt="a dot")
    assert edited.data


async def test_azures_client():
    """The Azure client names the model in the path and its key in api-key."""
    async with running_backend() as backend, running_proxy(seed_like(backend.url)) as proxy:
        azure = openai.AsyncAzureOpenAI(
            azure_endpoint=proxy.origin, api_key="k", api_version="2024-10-21", max_retries=0
        )
        async with azure:
            answer = await azure.chat.completions.create(**ask("a"))

    assert answer.model == "gpt-3.5-turbo"
