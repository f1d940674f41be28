"""Asking every model: of a file at its backend, or of a running proxy."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from proxy_cli.cli.client import ClientOptions
from proxy_cli.cli.health import run
from tests.cli.test_client import closed_port
from tests.fakes.backend import running_backend
from tests.fakes.proxy import running_proxy

SECRET = "sk-this-must-never-be-shown"


def entry(name: str, base: str, **params: object) -> dict[str, object]:
    """One deployment of a model list."""
    return {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_base": base, **params}}


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., str]:
    """A function that writes entries into a configuration file, and gives its path."""

    def write(*entries: dict[str, object]) -> str:
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump({"model_list": list(entries)}))
        file.chmod(0o600)
        return str(file)

    return write


@asynccontextmanager
async def server(handler: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """A backend with one answer to everything; its base URL."""
    app = web.Application()
    app.router.add_post("/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


async def ask(**options: object) -> int:
    """Run the command with no variables set; its exit code."""
    return await asyncio.to_thread(run, ClientOptions(**options), {})  # type: ignore[arg-type]


async def test_a_file_whose_models_answer_is_healthy(written, capsys):
    """Each model is asked at its own backend under its backend's name, and shown with where it goes."""
    async with running_backend() as backend:
        status = await ask(config=written(entry("kanban", backend.url), entry("tanuki", backend.url)))

        shown = capsys.readouterr().out
        assert status == 0
        assert {seen.body["model"] for seen in backend.requests} == {"kanban", "tanuki"}
        assert shown.count(backend.url) == 2
        assert shown.count("yes") == 2


async def test_one_model_that_fails_is_exit_code_1(written, capsys):
    """The others are asked all the same, and the reason stands in the failing model's row."""
    port = closed_port()
    async with running_backend() as backend:
        file = written(entry("up", backend.url), entry("down", f"http://127.0.0.1:{port}/v1"))
        status = await ask(config=file, json=True)

    told = json.loads(capsys.readouterr().out)
    up, down = told["models"]
    assert status == 1
    assert told["ok"] is False
    assert (up["model"], up["ok"], up["why"]) == ("up", True, "")
    assert (down["model"], down["ok"], down["asked"]) == ("down", False, True)
    assert str(port) in down["why"]
    assert up["latency_s"] > 0


async def test_all_models_are_asked_at_once(written):
    """A backend that answers nobody until all have asked still answers everybody."""
    everybody = asyncio.Barrier(5)

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.wait_for(everybody.wait(), 10)
        return web.json_response({"choices": [{"index": 0, "message": {"role": "assistant", "content": "!"}}]})

    async with server(answer) as base:
        status = await ask(config=written(*(entry(f"model-{number}", base) for number in range(5))))

    assert status == 0


async def test_a_wildcard_is_not_asked_and_does_not_fail(written, capsys):
    """A pattern names no model that could be asked: it is shown as such and does not decide the exit code."""
    async with running_backend() as backend:
        wildcard = {
            "model_name": "team/*",
            "litellm_params": {"model": "openai/*", "api_base": backend.url, "api_key": "x"},
        }
        status = await ask(config=written(wildcard, entry("kanban", backend.url)))

    shown = capsys.readouterr().out
    assert status == 0
    assert "not asked" in shown
    assert len(backend.requests) == 1


async def test_a_model_that_does_not_answer_in_time_fails(written, capsys):
    """--timeout is how long a backend may take."""

    asked = asyncio.Event()

    async def silence(_request: web.Request) -> web.Response:
        await asked.wait()
        return web.Response()

    async with server(silence) as base:
        status = await ask(config=written(entry("slow", base)), timeout=0.2, json=True)
        asked.set()

    (told,) = json.loads(capsys.readouterr().out)["models"]
    assert status == 1
    assert "0.2" in told["why"]


@pytest.mark.parametrize("as_json", [False, True])
async def test_what_a_backend_says_shows_neither_keys_nor_control_characters(written, as_json, capsys):
    """A backend that repeats the key, or sends escapes for the terminal, has its words cleaned."""

    async def refuse(_request: web.Request) -> web.Response:
        return web.json_response({"error": {"message": f"wrong key {SECRET} \x1b[31m[red]"}}, status=401)

    async with server(refuse) as base:
        status = await ask(config=written(entry("m", base, api_key=SECRET)), json=as_json)

    shown = capsys.readouterr().out
    assert status == 1
    assert "wrong key" in shown
    assert SECRET not in shown
    assert "\x1b" not in shown
    assert "[red]" in shown


async def test_a_file_with_mistakes_is_exit_code_2(written, capsys):
    """The file's problems are told with their places, and nothing is asked."""
    status = await ask(config=written({"model_name": "m", "litellm_params": {"modle": "openai/m"}}))

    captured = capsys.readouterr()
    assert status == 2
    assert captured.out == ""
    assert "config.yaml:" in captured.err
    assert "modle" in captured.err


CONFIG = """
model_list:
  - {{model_name: talks, litellm_params: {{model: openai/talks, mock_response: hello}}}}
  - {{model_name: gone, litellm_params: {{model: openai/gone, api_base: "http://127.0.0.1:{port}/v1", api_key: x}}}}
general_settings: {{master_key: sk-0123456789abcdef}}
"""


async def test_a_running_proxy_is_asked_for_its_models(capsys):
    """Without a file the proxy asks its models; one model that fails is exit code 1."""
    async with running_proxy(CONFIG.format(port=closed_port())) as proxy:
        status = await ask(url=proxy.origin, key="sk-0123456789abcdef", json=True)

    told = {model["model"]: model for model in json.loads(capsys.readouterr().out)["models"]}
    assert status == 1
    assert told["talks"]["ok"] is True
    assert told["gone"]["ok"] is False
    assert told["gone"]["asked"] is True


async def test_a_running_proxy_wants_its_key(capsys):
    """Without the key: exit code 1, and how a key is named."""
    async with running_proxy(CONFIG.format(port=closed_port())) as proxy:
        status = await ask(url=proxy.origin)

    captured = capsys.readouterr()
    assert status == 1
    assert "401" in captured.err
    assert "--key" in captured.err


async def test_another_server_is_not_taken_for_a_proxy(capsys):
    """What does not know our path is told in one sentence."""
    async with running_backend() as backend:
        status = await ask(url=backend.url)

    assert status == 1
    assert "did not answer" in capsys.readouterr().err


async def test_no_proxy_at_all_is_one_sentence(capsys):
    """Connection refused: exit code 1 and what to do."""
    status = await ask(port=closed_port())

    assert status == 1
    assert "connection refused" in capsys.readouterr().err
