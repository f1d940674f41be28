"""The backend of the proof."""

import json

from aiohttp.test_utils import TestClient, TestServer

from bench.oracle import PROMPT_TOKENS, application, completion_tokens


def body_of(content, *, stream=False):
    """A request as the proof sends it."""
    return {"model": "oracle", "messages": [{"role": "user", "content": content}], "stream": stream}


async def test_it_puts_down_what_it_was_asked_and_what_it_answered(tmp_path):
    """A start and an end for each answer, only a start for a fault, and the tokens that the number stands for."""
    async with TestClient(TestServer(application(tmp_path / "seen"))) as client:
        whole = await (await client.post("/v1/chat/completions", json=body_of("4"))).json()
        stream = await (await client.post("/v1/chat/completions", json=body_of("5", stream=True))).text()
        fault = await client.post("/v1/chat/completions", json=body_of("6 fault"))

    events = [json.loads(line[6:]) for line in stream.split("\n\n") if line.startswith("data: {")]
    usages = [whole["usage"], events[-1]["usage"]]
    assert [(usage["prompt_tokens"], usage["completion_tokens"]) for usage in usages] == [
        (PROMPT_TOKENS, completion_tokens(4)),
        (PROMPT_TOKENS, completion_tokens(5)),
    ]
    assert fault.status == 500
    assert (tmp_path / "seen").read_text().splitlines() == [
        "started 4",
        "ended 4",
        "started 5",
        "ended 5",
        "started 6",
    ]
