"""The mock backend over real sockets: what it answers, what it records, and how it breaks when asked to."""

import asyncio
import json

import aiohttp
import openai
import pytest
from openai.types.chat import ChatCompletionToolParam

from proxy_cli.mock.faults import Faults
from tests.fakes.backend import RunningBackend, running_backend

TEXT = "日本の都道府県名を1つ🗾"


@pytest.fixture
async def backend():
    async with running_backend() as running:
        yield running


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def client(backend: RunningBackend):
    async with openai.AsyncOpenAI(base_url=backend.url, api_key="none", max_retries=0) as made:
        yield made


def chat(text: str, **more: object) -> dict[str, object]:
    return {"model": "vicuna-13b", "messages": [{"role": "user", "content": text}], **more}


async def until(condition) -> None:
    """Wait until something holds; the test's own time limit ends a wait in vain."""
    while not condition():
        await asyncio.sleep(0.005)


async def test_chat_echoes_the_last_user_message_and_counts(client: openai.AsyncOpenAI):
    """The answer is what the user said last, under the model's name, with a count of tokens."""
    answer = await client.chat.completions.create(model="vicuna-13b", messages=[{"role": "user", "content": TEXT}])

    assert answer.choices[0].message.content == TEXT
    assert answer.model == "vicuna-13b"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


async def test_chat_stream_says_the_same_in_pieces(client: openai.AsyncOpenAI):
    """The pieces of a stream joined are the plain answer, and usage comes when it is asked for."""
    stream = await client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": TEXT}], stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None


async def test_same_request_gets_the_same_bytes(backend: RunningBackend, http: aiohttp.ClientSession):
    """Nothing in an answer depends on the time or on chance."""
    bodies = []
    for _ in range(2):
        async with http.post(f"{backend.url}/chat/completions", json=chat(TEXT)) as response:
            bodies.append(await response.read())

    assert bodies[0] == bodies[1]


async def test_tool_is_called_when_the_prompt_names_it(client: openai.AsyncOpenAI):
    """A prompt that names an offered tool gets a call with arguments that fit its schema."""
    schema: dict[str, object] = {"type": "object", "properties": {"city": {"type": "string", "enum": ["鳥取"]}}}
    tools: list[ChatCompletionToolParam] = [
        {"type": "function", "function": {"name": "get_weather", "parameters": schema}}
    ]
    answer = await client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "call get_weather"}], tools=tools
    )

    call = (answer.choices[0].message.tool_calls or [])[0]
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "鳥取"}
    assert answer.choices[0].finish_reason == "tool_calls"


async def test_embeddings_are_unit_vectors_in_both_encodings(backend: RunningBackend, client: openai.AsyncOpenAI):
    """Each text has its own vector of length one, the same in floats and in base64."""
    floats = await client.embeddings.create(model="e", input=["夕飯", "肉"], dimensions=40, encoding_format="float")
    decoded = await client.embeddings.create(model="e", input=["夕飯", "肉"], dimensions=40)

    vectors = [entry.embedding for entry in floats.data]
    assert backend.last.body["encoding_format"] == "base64"  # what the client asks for by itself, and decodes
    assert vectors[0] != vectors[1]
    assert [sum(value * value for value in vector) for vector in vectors] == pytest.approx([1.0, 1.0], abs=1e-6)
    assert [entry.embedding for entry in decoded.data] == vectors


async def test_responses_stream_ends_with_the_whole_response(client: openai.AsyncOpenAI):
    """The Responses events carry the text in pieces and end with the completed response."""
    events = [event async for event in await client.responses.create(model="m", input=TEXT, stream=True)]

    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert said == TEXT
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == TEXT


async def test_other_operations_answer_in_their_own_shape(client: openai.AsyncOpenAI):
    """Completions, moderations, images, speech and transcriptions are read by the client's own types."""
    completion = await client.completions.create(model="m", prompt="こんにちは")
    moderation = await client.moderations.create(model="m", input="please flag-me")
    image = await client.images.generate(model="m", prompt="a cat", response_format="b64_json", n=2)
    speech = await client.audio.speech.create(model="m", voice="v", input="hello")
    heard = await client.audio.transcriptions.create(model="m", file=("声.wav", speech.content))

    assert completion.choices[0].text == "こんにちは"
    assert moderation.results[0].flagged
    assert len(image.data or []) == 2
    assert speech.content.startswith(b"RIFF")
    assert heard.text == f"声.wav ({len(speech.content)} bytes)"


async def test_rerank_puts_the_nearest_document_first(backend: RunningBackend, http: aiohttp.ClientSession):
    """Results are sorted by score, cut at `top_n`, and name the document's place."""
    body = {"model": "r", "query": "鳥取砂丘", "documents": ["東京", "鳥取の砂丘", "鳥"], "top_n": 2}
    async with http.post(f"{backend.url}/rerank", json=body) as response:
        results = (await response.json())["results"]

    assert [result["index"] for result in results] == [1, 2]


@pytest.mark.parametrize("way", ["header", "directive", "json", "model"])
async def test_error_status_is_asked_for_in_four_ways(backend: RunningBackend, http: aiohttp.ClientSession, way: str):
    """A header, a directive in the message, one in JSON, and a model name all bring the same error."""
    body = chat({"directive": "hi [[mock status=429]]", "json": '[[mock {"status": 429}]]'}.get(way, "hi"))
    body["model"] = "mock-status-429" if way == "model" else "m"
    headers = {"x-mock-status": "429"} if way == "header" else {}
    async with http.post(f"{backend.url}/chat/completions", json=body, headers=headers) as response:
        error = (await response.json())["error"]

    assert response.status == 429
    assert error["type"] == "rate_limit_error"


async def test_retry_after_and_times_make_a_backend_that_recovers(backend: RunningBackend, http: aiohttp.ClientSession):
    """With `times=1` the first request suffers and the next is answered, without the directive in its echo."""
    body = chat("hello [[mock status=503 retry_after=2 times=1]]")
    async with http.post(f"{backend.url}/chat/completions", json=body) as first:
        pass
    async with http.post(f"{backend.url}/chat/completions", json=body) as second:
        answer = await second.json()

    assert (first.status, first.headers["retry-after"]) == (503, "2")
    assert answer["choices"][0]["message"]["content"] == "hello"


async def test_unknown_control_is_refused_with_the_known_ones(backend: RunningBackend, http: aiohttp.ClientSession):
    """A slip in a directive is an error that names the controls, never a request without a fault."""
    async with http.post(f"{backend.url}/chat/completions", json=chat("[[mock statsu=500]]")) as response:
        message = (await response.json())["error"]["message"]

    assert response.status == 400
    assert "'statsu'" in message
    assert "status" in message


async def read_events(response: aiohttp.ClientResponse) -> list[str]:
    lines = (await response.read()).decode().split("\n\n")
    return [line.removeprefix("data: ") for line in lines if line]


async def test_stream_has_as_many_content_events_as_asked(backend: RunningBackend, http: aiohttp.ClientSession):
    """`events=5` is five content events between the opening and the closing one, then the end mark."""
    async with http.post(f"{backend.url}/chat/completions", json=chat("[[mock events=5]]", stream=True)) as response:
        events = await read_events(response)

    assert len(events) == 1 + 5 + 1 + 1
    assert events[-1] == "[DONE]"


@pytest.mark.parametrize(("cut", "reset"), [(0, False), (3, False), (3, True)])
async def test_cut_breaks_a_stream_after_its_events(http: aiohttp.ClientSession, cut: int, reset: bool):
    """After K events the connection breaks without the end of the body; that is no abort of the caller's."""
    faults = Faults(cut=cut, events=9, reset=reset)
    async with running_backend(faults=faults) as backend:
        received = b""
        with pytest.raises(aiohttp.ClientError):  # noqa: PT012 - where it breaks depends on the socket
            async with http.post(f"{backend.url}/chat/completions", json=chat("x", stream=True)) as response:
                async for piece in response.content.iter_any():
                    received += piece
        await until(lambda: backend.last.finished)

        assert backend.last.events_sent == cut
        assert not backend.last.aborted
        if not reset:
            assert received.count(b"data: ") == cut


async def test_drop_closes_without_an_answer(backend: RunningBackend, http: aiohttp.ClientSession):
    """The caller of a dropped request sees the connection end before any head."""
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await http.post(f"{backend.url}/chat/completions", json=chat("[[mock drop]]"))


async def test_cut_shortens_a_plain_answer(backend: RunningBackend, http: aiohttp.ClientSession):
    """A plain answer ends before the length that its head promised."""
    async with http.post(f"{backend.url}/chat/completions", json=chat("[[mock cut=7]]")) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


@pytest.mark.parametrize(
    ("directive", "expected"),
    [
        ("error_event=2", lambda events: "error" in json.loads(events[2]) and events[3] == "[DONE]"),
        ("no_done", lambda events: events[-1] != "[DONE]"),
        ("error_event=1 no_done", lambda events: "error" in json.loads(events[-1])),
        ("invalid_json", lambda events: events[1] == '{"this is not JSON'),
        ("reasoning=考え中", lambda events: "考え中" in events[1]),
    ],
)
async def test_stream_faults_lie_in_its_events(
    backend: RunningBackend, http: aiohttp.ClientSession, directive: str, expected
):
    """Errors inside the stream, a missing end mark, broken JSON and reasoning show where they were asked for."""
    body = chat(f"hello [[mock {directive}]]", stream=True)
    async with http.post(f"{backend.url}/chat/completions", json=body) as response:
        events = await read_events(response)

    assert expected(events)


async def test_stream_options_are_refused_on_request(http: aiohttp.ClientSession):
    """A backend that does not know `stream_options` answers 400 with them, and streams without."""
    async with running_backend(faults=Faults(refuse_stream_options=True)) as backend:
        url = f"{backend.url}/chat/completions"
        async with http.post(url, json=chat("x", stream=True, stream_options={"include_usage": True})) as refused:
            message = (await refused.json())["error"]["message"]
        async with http.post(url, json=chat("x", stream=True)) as served:
            await served.read()

    assert (refused.status, served.status) == (400, 200)
    assert "stream_options" in message


@pytest.mark.parametrize("text", ["[[mock delay=60]]", "[[mock events=99 gap=60]]"])
async def test_caller_who_leaves_is_recorded_as_aborted(backend: RunningBackend, text: str):
    """A connection closed before the head, or in the middle of a stream, is seen at once and noted."""
    async with aiohttp.ClientSession() as session:
        request = asyncio.create_task(session.post(f"{backend.url}/chat/completions", json=chat(text, stream=True)))
        await until(lambda: backend.requests and backend.requests[0].body is not None)
        if "gap" in text:
            await until(lambda: backend.requests[0].events_sent > 0)
            (await request).close()
        else:
            request.cancel()

        await until(lambda: backend.requests[0].finished)

    assert backend.requests[0].aborted
    assert backend.requests[0].aborted_after_s is not None


async def test_requests_seen_are_shown_and_cleared_over_http(backend: RunningBackend, http: aiohttp.ClientSession):
    """`GET /mock/requests` lists path, headers and body; DELETE forgets them."""
    async with http.post(f"{backend.url}/chat/completions?x=1", json=chat(TEXT), headers={"X-Test": "1"}):
        pass
    async with http.get(f"{backend.origin}/mock/requests") as response:
        seen = (await response.json())[0]
    async with http.delete(f"{backend.origin}/mock/requests"):
        pass

    assert seen["target"] == "/v1/chat/completions?x=1"
    assert seen["headers"]["x-test"] == "1"
    assert seen["body"]["messages"][0]["content"] == TEXT
    assert (seen["aborted"], seen["status"]) == (False, 200)
    assert backend.requests == []


async def test_upload_is_measured_and_hashed(backend: RunningBackend, http: aiohttp.ClientSession):
    """A form's fields are kept as they are, of a file its name, size and hash."""
    form = aiohttp.FormData()
    form.add_field("file", b"x" * 100_000, filename="a.bin", content_type="audio/wav")
    form.add_field("model", "whisper")
    async with http.post(f"{backend.url}/audio/transcriptions", data=form) as response:
        await response.read()

    assert backend.last.body["model"] == "whisper"
    assert (backend.last.body["files"][0]["size"], backend.last.body["files"][0]["name"]) == (100_000, "file")


async def test_key_and_models_are_checked_when_given(http: aiohttp.ClientSession):
    """With a key, callers need it; with a list of models, others do not exist."""
    async with running_backend(key="sk-mock", models=("one",)) as backend:
        statuses = []
        for model, key in (("one", "sk-mock"), ("one", "wrong"), ("two", "sk-mock")):
            body = {**chat("x"), "model": model}
            headers = {"authorization": f"Bearer {key}"}
            async with http.post(f"{backend.url}/chat/completions", json=body, headers=headers) as response:
                statuses.append(response.status)
        async with http.get(f"{backend.url}/models") as response:
            names = [model["id"] for model in (await response.json())["data"]]

    assert statuses == [200, 401, 404]
    assert names == ["one"]


async def test_azure_path_names_the_model(backend: RunningBackend, http: aiohttp.ClientSession):
    """Below /openai/deployments/NAME the model need not stand in the body."""
    url = f"{backend.origin}/openai/deployments/gpt-x/chat/completions?api-version=1"
    async with http.post(url, json={"messages": [{"role": "user", "content": "hi"}]}) as response:
        answer = await response.json()

    assert answer["model"] == "gpt-x"


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'{"messages": "\xff"}'])
async def test_body_that_is_no_json_object_is_400(backend: RunningBackend, http: aiohttp.ClientSession, data: bytes):
    """What cannot be read is the caller's error, in the usual envelope."""
    headers = {"content-type": "application/json"}
    async with http.post(f"{backend.url}/chat/completions", data=data, headers=headers) as response:
        assert response.status == 400
        assert (await response.json())["error"]["message"]


@pytest.mark.parametrize(
    "odd", [{"tools": 5}, {"messages": 5}, {"messages": [5]}, {"tools": [{"function": 5}]}, {"n": "x"}]
)
async def test_fields_of_an_odd_shape_are_a_400(backend: RunningBackend, http: aiohttp.ClientSession, odd):
    """Whatever a request holds, the answer is one sentence and the backend serves on."""
    async with http.post(f"{backend.url}/chat/completions", json={**chat("[[mock tool]]"), **odd}) as response:
        assert response.status in {200, 400}
        assert response.content_type == "application/json"
    async with http.post(f"{backend.url}/chat/completions", json=chat("a")) as response:
        assert response.status == 200
