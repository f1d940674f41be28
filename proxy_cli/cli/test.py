"""`llmproxy --test`, `llmproxy test`: the smoke request to a running proxy, plain and streamed.

Whoever sees two answers here has a proxy that works from the client's side: the address, the key, the model's name,
the backend behind it, and a stream that arrives in pieces. Exit code 0 when both came whole, else 1.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Final

import click

from proxy_cli.cli.client import (
    Client,
    ClientOptions,
    ClientProblem,
    Reply,
    client_parameters,
    error_message,
    find_key,
    find_target,
    given,
    refusal,
    tell,
)
from proxy_cli.shapes import Json

PROMPT: Final = "this is a test request, write a short poem"
MAX_TOKENS: Final = 256
TIMEOUT_S: Final = 120.0
_PATH: Final = "/v1/chat/completions"

Show = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What one request came to."""

    kind: str  # plain or stream
    ok: bool = False
    answer: str = ""
    latency_s: float = 0.0
    first_token_s: float | None = None
    completion_tokens: int | None = None
    tokens_per_second: float | None = None
    why: str = ""

    def sentence(self) -> str:
        """The numbers, or what went wrong, on one line."""
        if not self.ok:
            return f"failed: {self.why}"
        parts = [f"{self.latency_s:.2f} s"]
        if self.first_token_s is not None:
            parts.append(f"first token after {self.first_token_s:.2f} s")
        if self.completion_tokens is not None:
            parts.append(f"{self.completion_tokens} tokens")
        if self.tokens_per_second is not None:
            parts.append(f"{self.tokens_per_second:.1f} tokens/s")
        return ", ".join(parts)


@dataclass(slots=True)
class _Stream:
    """What has been read of a stream so far."""

    pieces: list[str] = field(default_factory=list)
    first_s: float | None = None
    tokens: int | None = None
    done: bool = False
    error: str = ""

    def take(self, data: str, now_s: float) -> str:
        """Read one event; the text to show for it."""
        if data == "[DONE]":
            self.done = True
            return ""
        event = _decoded(data)
        if not isinstance(event, dict):
            self.error = f"an event of the stream is not a JSON object: {data[:100]!r}"
            return ""
        if "error" in event:
            self.error = f"the stream carried an error: {error_message(event) or data[:200]}"
            return ""
        self.tokens = _completion_tokens(event) or self.tokens
        text = _text_of(event, "delta")
        if text:
            self.first_s = now_s if self.first_s is None else self.first_s
            self.pieces.append(text)
        return text


def run(options: ClientOptions, environ: Mapping[str, str] = os.environ) -> int:
    """Send the smoke request, plain and streamed, and show what comes back; the exit code."""
    try:
        target = find_target(options, environ)
        client = Client(target, find_key(options, environ), options.timeout or TIMEOUT_S)
        model = options.model or _first_model(client)
    except ClientProblem as problem:
        return tell(problem, options)
    show: Show = _silent if options.json else _print
    show(f"Testing {target} with the model {model}\n")
    outcomes = []
    for kind, send in (("plain", _plain), ("stream", _streamed)):
        show(f"\n{kind}: ")
        outcome = _timed(kind, client, model, send, show)
        outcomes.append(outcome)
        show(f"\n  {outcome.sentence()}\n")
        if not outcome.ok:
            break
    ok = all(outcome.ok for outcome in outcomes)
    if options.json:
        told = {"ok": ok, "url": str(target), "model": model, "requests": [asdict(outcome) for outcome in outcomes]}
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
    return 0 if ok else 1


def _print(text: str) -> None:
    click.echo(text, nl=False)


def _silent(_text: str) -> None:
    """Show nothing: the result is printed as JSON at the end."""


def _first_model(client: Client) -> str:
    listed = client.get_json("/v1/models")
    data = listed.get("data") if isinstance(listed, dict) else None
    models = [model for model in data or [] if isinstance(model, dict) and isinstance(model.get("id"), str)]
    named = [model for model in models if "*" not in model["id"]]
    if not named:
        raise ClientProblem(f"{client.target} lists no model by name; say which one to ask with --model NAME")
    # What is known not to chat would only show that it does not.
    talking = (model["id"] for model in named if model.get("mode") in {None, "chat", "responses"})
    return str(next(talking, named[0]["id"]))


def _timed(
    kind: str, client: Client, model: str, send: Callable[[Client, Json, Outcome, Show], None], show: Show
) -> Outcome:
    outcome = Outcome(kind=kind)
    body = {"model": model, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": MAX_TOKENS}
    started_s = time.perf_counter()
    try:
        send(client, body, outcome, show)
    except ClientProblem as problem:
        outcome.ok, outcome.why = False, str(problem)
    outcome.latency_s = time.perf_counter() - started_s
    if outcome.completion_tokens and outcome.latency_s:
        outcome.tokens_per_second = round(outcome.completion_tokens / outcome.latency_s, 1)
    return outcome


def _plain(client: Client, body: Json, outcome: Outcome, show: Show) -> None:
    with client.exchange("POST", _PATH, body) as reply:
        found = reply.json()
    if reply.status != 200:
        outcome.why = refusal(reply.status, found)
        return
    outcome.answer = _text_of(found, "message")
    outcome.completion_tokens = _completion_tokens(found)
    outcome.ok = isinstance(found, dict) and bool(found.get("choices"))
    outcome.why = "" if outcome.ok else "the answer has no choices"
    show(outcome.answer)


def _streamed(client: Client, body: Json, outcome: Outcome, show: Show) -> None:
    started_s = time.perf_counter()
    stream = _Stream()
    with client.exchange("POST", _PATH, {**body, "stream": True, "stream_options": {"include_usage": True}}) as reply:
        if reply.status != 200 or not _is_event_stream(reply):
            outcome.why = refusal(reply.status, reply.json()) if reply.status != 200 else "the answer is no stream"
            return
        for data in reply.events():
            show(stream.take(data, time.perf_counter() - started_s))
            if stream.done or stream.error:
                break
    outcome.answer = "".join(stream.pieces)
    outcome.first_token_s, outcome.completion_tokens = stream.first_s, stream.tokens
    outcome.ok = stream.done and not stream.error
    outcome.why = stream.error or ("" if stream.done else "the stream ended without [DONE]")


def _is_event_stream(reply: Reply) -> bool:
    return (reply.header("content-type") or "").startswith("text/event-stream")


def _decoded(data: str) -> Json:
    try:
        return json.loads(data)
    except json.JSONDecodeError:
        return None


def _text_of(body: Json, part: str) -> str:
    """What a message or a delta says, thoughts too: a model may spend all its tokens on them."""
    choices = body.get("choices") if isinstance(body, dict) else None
    found = choices[0].get(part) if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None
    if not isinstance(found, dict):
        return ""
    texts = [found.get(name) for name in ("reasoning_content", "content")]
    return "".join(text for text in texts if isinstance(text, str))


def _completion_tokens(body: Json) -> int | None:
    usage = body.get("usage") if isinstance(body, dict) else None
    count = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return count if isinstance(count, int) else None


@click.command(params=client_parameters(model=True))
def test(**_values: object) -> int:
    """Send a running proxy a test request, plain and streamed, and show the answer."""
    return run(*given())
