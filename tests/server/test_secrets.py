"""Secrets and prompts stay where they belong: whatever fails, and however much is logged."""

import asyncio
import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.fakes.command import Command, free_port

MASTER = "sk-canary-master-7Hq2Zx81Lp"
PROVIDER = "prov-canary-9fKd83nvQm2LpZ"
OTHER = "head-canary-5vBn27xKqW8s"
PROMPT = "prompt-canary-kirschbaum"
CHAT = "/v1/chat/completions"


def config(echo: str, closed: int) -> str:
    return f"""
model_list:
  - model_name: m
    litellm_params: {{model: openai/m, api_base: "{echo}/v1", api_key: {PROVIDER}}}
  - model_name: dead
    litellm_params: {{model: openai/m, api_base: "http://127.0.0.1:{closed}/v1", api_key: {PROVIDER}}}
  - model_name: asked
    litellm_params: {{model: openai/m, api_base: "{echo}/v1", api_key: {PROVIDER}, extra_headers: {{x-key: {OTHER}}}}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
litellm_settings: {{require_auth_for_metrics_endpoint: false}}
general_settings: {{master_key: {MASTER}, background_health_checks: false}}
"""


async def _echo(request: web.Request) -> web.StreamResponse:
    """A backend that says the key again wherever it can, as some do: in its message, its address and its headers."""
    body = await request.text()
    key = request.headers.get("authorization", "").removeprefix("Bearer ")
    other = request.headers.get("x-key", "")
    said = f"Incorrect API key provided: {key}. https://g.example/v1beta/models/m:generate?key={key}&alt={other}"
    for number in (400, 401, 403, 404, 429, 500, 503):
        if f"status-{number}" in body:
            error = {"error": {"message": said, "type": "x", "code": key, "param": key}}
            return web.json_response(error, status=number, headers={"x-request-id": key, "x-echo": key})
    if "html" in body:
        return web.Response(text=f"<h1>{said}</h1>", status=502, content_type="text/html")
    if "events" in body:
        event = f"data: {json.dumps({'error': {'message': said}})}\n\n"
        return web.Response(text=event, content_type="text/event-stream")
    if "broken" in body:
        return web.Response(text=f'{{"choices": "{said}', content_type="application/json")
    return web.json_response({"id": "1", "object": "chat.completion", "model": "m", "choices": [{"index": 0,
        "finish_reason": "stop", "message": {"role": "assistant", "content": "fine"}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}})  # fmt: skip


@contextlib.asynccontextmanager
async def echoing():
    """Such a backend, while the block runs."""
    app = web.Application()
    app.router.add_post("/v1/{path:.*}", _echo)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Watched:
    """llmproxy as a program, all that it has answered, and all that it leaves behind."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.origin = f"http://127.0.0.1:{port}"
        self.answers: list[str] = []
        self.log: tuple[str, str] = ("", "")
        self.client = aiohttp.ClientSession()

    async def ask(self, method: str, path: str, headers: dict[str, str] | None = None, data: Any = None) -> str:
        """One request; its answer is kept, headers and all."""
        if isinstance(data, dict):
            data = json.dumps(data)
        sent = {"content-type": "application/json", **(headers or {})}
        async with self.client.request(method, self.origin + path, headers=sent, data=data) as response:
            text = f"{response.status} {dict(response.headers)} {await response.text()}"
        self.answers.append(text)
        return text

    def left(self) -> dict[str, str]:
        """What is in its folders, file by file, but for its configuration."""
        files = (each for each in (self.folder / "data").rglob("*") if each.is_file())
        return {str(each): each.read_bytes().decode("latin-1") for each in files}


@contextlib.asynccontextmanager
async def watched(folder: Path, *words: str):
    """It serves while the block runs; afterwards its log is in `answers`, too."""
    port = free_port()
    command = Command(folder)
    async with echoing() as origin:
        command.write("c.yaml", config(origin, free_port()))
        start = ["--config", "c.yaml", "--host", "127.0.0.1", "--port", str(port), "--num_workers", "2", *words]
        process = await asyncio.to_thread(
            command.serve, *start, port=port, LLMPROXY_DATA_DIR=str(folder / "data"), PYTHONWARNINGS="default"
        )
        running = Watched(folder, port)
        try:
            yield running, process.pid
            await running.client.close()
            process.terminate()
            running.log = await asyncio.to_thread(process.communicate)
            assert process.returncode == 0
        finally:
            await running.client.close()
            command.close()


def found(secret: str, texts) -> list[str]:
    """Where a secret stands, with what is around it."""
    return [each[max(0, each.index(secret) - 200) : each.index(secret) + 60] for each in texts if secret in each]


def says(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def failing(key: str) -> list[tuple[str, str, dict[str, str], Any]]:
    """Requests that fail in as many ways as there are, each with a secret somewhere in it."""
    bearer = {"authorization": f"Bearer {key}"}
    faults = [f"status-{number}" for number in (400, 401, 403, 404, 429, 500, 503)] + ["html", "events", "broken"]
    models = ("m", "asked", "dead")
    asked = [("POST", CHAT, bearer, {**says(each), "model": model}) for each in faults for model in models]
    streams = [("POST", CHAT, bearer, says(each, stream=True)) for each in faults]
    return [
        *asked,
        *streams,
        ("POST", CHAT, bearer, {**says("x"), "model": "nobody"}),
        ("POST", CHAT, bearer, "{" + key),
        ("POST", CHAT, bearer, {"model": "m", "messages": 5}),
        ("POST", CHAT, {"authorization": f"Basic {key}"}, says("x")),
        ("POST", CHAT, {"authorization": f"Bearer {key}x"}, says("x")),
        ("POST", CHAT, {**bearer, "x-api-key": MASTER}, says("x")),
        ("POST", CHAT, {"cookie": f"token={key}"}, says("x")),
        ("POST", f"{CHAT}?key={key}", {}, says("x")),
        ("POST", f"{CHAT}?api_key={key}", bearer, says("x")),
        ("GET", f"/v1/models/{key}", bearer, None),
        ("GET", f"/{key}", bearer, None),
        ("GET", f"/key/info?key={key}", {"authorization": "Bearer sk-nobody-knows-this-1"}, None),
        ("POST", "/key/generate", bearer, {"max_budget": -1}),
        ("POST", "/key/generate", {"authorization": f"Bearer {MASTER}"}, {"max_budget": "much", "key_alias": 5}),
        ("GET", "/metrics", {}, None),
        ("GET", "/health", {"authorization": f"Bearer {MASTER}"}, None),
        ("GET", "/model/info", {"authorization": f"Bearer {MASTER}"}, None),
        ("POST", "/health/test", {"authorization": f"Bearer {MASTER}"}, {}),
    ]


def of_process(pid: int, name: str) -> str:
    """What the kernel tells of a process."""
    return Path(f"/proc/{pid}/{name}").read_text()


@pytest.mark.row("P-01", "P-02")
@pytest.mark.parametrize("words", [pytest.param((), marks=pytest.mark.deep), ("--detailed_debug",)])
async def test_no_secret_leaves_by_any_failure(tmp_path, words):
    """Keys of backends, the master key and a key in use: in no answer, header, log line, metric, file or row."""
    async with watched(tmp_path, *words) as (proxy, _):
        made = await proxy.ask("POST", "/key/generate", {"authorization": f"Bearer {MASTER}"}, {"key_alias": "app"})
        proxy.answers.clear()  # the one place where a key is shown
        key = json.loads(made[made.index('{"') :])["key"]
        for method, path, headers, data in failing(key):
            await proxy.ask(method, path, headers, data)
        await asyncio.sleep(0.5)
        await proxy.ask("GET", "/metrics")
        await proxy.ask("GET", "/spend/logs", {"authorization": f"Bearer {MASTER}"})
        fine = await proxy.ask("POST", CHAT, {"authorization": f"Bearer {key}"}, {"model": "m", "messages": []})

    texts = [*proxy.log, *proxy.left().values(), *proxy.answers]
    assert fine.startswith("200"), "the key is one that works"
    assert len(proxy.left()) >= 2
    for secret in (PROVIDER, OTHER, MASTER, key):
        assert found(secret, texts) == []


@pytest.mark.row("P-03")
async def test_no_prompt_is_kept_or_logged(tmp_path):
    """Unless that is asked for: not of an answer, of a failure or of a stream."""
    async with watched(tmp_path) as (proxy, _):
        bearer = {"authorization": f"Bearer {MASTER}"}
        for fault in ("", "status-500", "status-400", "html", "broken", "events"):
            for stream in (False, True):
                body = {"messages": [{"role": "user", "content": f"{PROMPT} {fault}"}], "stream": stream}
                for model in ("m", "dead", "nobody"):
                    await proxy.ask("POST", CHAT, bearer, {**body, "model": model})
        await proxy.ask("POST", CHAT, bearer, f'{{"model": "m", "messages": "{PROMPT}')
        await asyncio.sleep(0.5)
        await proxy.ask("GET", "/spend/logs", bearer)
    with sqlite3.connect(tmp_path / "data" / "llmproxy.db") as database:
        (rows,) = database.execute("select count(*) from llmproxy_ledger").fetchone()
    database.close()

    assert rows >= 12
    assert found(PROMPT, [*proxy.answers, *proxy.log, *proxy.left().values()]) == []


@pytest.mark.row("P-08")
async def test_other_users_of_the_machine_see_no_secret(tmp_path):
    """Neither the command line nor the variables of any of its processes hold one, nor what `--version` says."""
    async with watched(tmp_path) as (_, pid):
        processes = [pid]
        async with asyncio.timeout(10):
            while len(processes) < 3:
                await asyncio.sleep(0.05)
                processes = [pid, *map(int, of_process(pid, f"task/{pid}/children").split())]
        seen = [of_process(each, name) for each in processes for name in ("cmdline", "environ")]
    version = await asyncio.to_thread(Command(tmp_path).run, "--version")

    assert version.returncode == 0
    for secret in (PROVIDER, OTHER, MASTER):
        assert found(secret, [*seen, version.stdout, version.stderr]) == []
