"""Every file in examples/ passes `check`, and what the first minute promises is served as a user would serve it."""

import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.fakes.backend import running_backend

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
VARIABLES = {
    "LITELLM_MASTER_KEY": "sk-0123456789abcdefghij",
    "OPENAI_API_KEY": "sk-test-openai",
    "AZURE_API_KEY": "test-azure",
    "AZURE_API_BASE": "https://team.openai.azure.com",
}


def environment(home: Path, **variables: str) -> dict[str, str]:
    """Variables as on a fresh machine, and those that are given."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", **variables}


def llmproxy(*arguments: str | Path, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run(
        [sys.executable, "-m", "proxy_cli", *arguments],
        cwd=home,
        env=environment(home, **variables),
        capture_output=True,
        text=True,
    )


@contextlib.contextmanager
def serving(*arguments: str | Path, home: Path) -> Iterator[int]:
    """A proxy in a process of its own on a free port, which is the value."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = home / "log"
    command = [sys.executable, "-m", "proxy_cli", *arguments, "--host", "127.0.0.1", "--port", str(port), "--"]
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=home, env=environment(home), stdout=output, stderr=output)
    try:
        wait_until_ready(port, process, log)
        yield port
    finally:
        process.terminate()
        status = process.wait(30)
    assert status == 0, log.read_text()


def wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Come back when the proxy says that it is ready."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError):
            if request(port, "GET", "/health/readiness")[0] == 200:
                return
        time.sleep(0.05)
    pytest.fail(f"not ready after 30 s:\n{log.read_text()}")


def request(port: int, method: str, path: str, body: object = None) -> tuple[int, str]:
    """One request; status and body."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {"content-type": "application/json", "authorization": "Bearer None"}
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()


def chat(port: int, model: str, **fields: object) -> tuple[int, str]:
    """One chat request; status and body."""
    messages = [{"role": "user", "content": "日本の都道府県名をランダムに１つ回答してください。"}]
    return request(port, "POST", "/v1/chat/completions", {"model": model, "messages": messages, **fields})


@pytest.mark.row("C-65")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_passes_check(example, tmp_path):
    """With the variables that its first lines name, an example has no problem, not even a warning."""
    done = llmproxy("check", example, "--strict", home=tmp_path, **VARIABLES)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_names_the_variables_it_needs(example):
    """The comment at the top says what has to be set."""
    text = example.read_text("utf-8")
    head = text.partition("model_list:")[0]

    needed = set(re.findall(r"os\.environ/(\w+)", text))

    assert {name for name in needed if name not in head} == set()


def test_the_quickstart_answers_as_it_says(tmp_path):
    """Chat, Japanese, a stream, embeddings and an error come from the file, with no backend."""
    with serving("--config", ROOT / "examples" / "quickstart.yaml", home=tmp_path) as port:
        plain = chat(port, "gpt-4o")
        japanese = chat(port, "gpt-3.5-turbo")
        streamed = chat(port, "gpt-4o", stream=True)
        vector = request(
            port, "POST", "/v1/embeddings", {"model": "text-embedding-ada-002", "input": "夕飯はお肉です。"}
        )
        busy = chat(port, "always-busy")

    assert plain[0] == 200
    assert json.loads(plain[1])["choices"][0]["message"]["content"].startswith("Hello from llmproxy!")
    assert "鳥取砂丘" in json.loads(japanese[1])["choices"][0]["message"]["content"]
    assert streamed[1].endswith("data: [DONE]\n\n")
    assert len(json.loads(vector[1])["data"][0]["embedding"]) == 1536
    assert busy[0] == 429
    assert f"curl http://127.0.0.1:{port}/v1/chat/completions" in (tmp_path / "log").read_text("utf-8")


async def test_the_quickstart_passes_its_own_client_commands(tmp_path):
    """`llmproxy test` and `llmproxy health` find nothing wrong with it."""
    file = ROOT / "examples" / "quickstart.yaml"

    def commands() -> list[subprocess.CompletedProcess[str]]:
        with serving("--config", file, home=tmp_path) as port:
            return [
                llmproxy("test", "--port", str(port), home=tmp_path),
                llmproxy("--test", f"http://127.0.0.1:{port}", home=tmp_path),
                llmproxy("--test", "--port", str(port), home=tmp_path, LLMPROXY_URL="http://127.0.0.1:1"),
                llmproxy("test", "--model", "gpt-3.5-turbo", home=tmp_path, LLMPROXY_URL=f"http://127.0.0.1:{port}"),
            ]

    for done in await asyncio.to_thread(commands):
        assert done.returncode == 0, done.stdout + done.stderr
        assert "first token after" in done.stdout


async def test_the_local_servers_example_serves_its_team(tmp_path):
    """With backends on its three ports, every public name reaches the backend and the name that the file says."""
    text = (ROOT / "examples" / "local-servers.yaml").read_text("utf-8")
    async with running_backend() as first, running_backend() as second, running_backend() as third:
        ports = {20080: first.port, 30080: second.port, 40080: third.port}
        for old, new in ports.items():
            text = text.replace(f"host.docker.internal:{old}", f"127.0.0.1:{new}")
        file = tmp_path / "config.yaml"
        file.write_text(text, "utf-8")

        def ask() -> dict[str, tuple[int, str]]:
            with serving("--config", file, "--detailed_debug", home=tmp_path) as port:
                embedding = {"model": "text-embedding-ada-002", "input": "query: 夕飯はお肉です。"}
                return {
                    "gpt-3.5-turbo": chat(port, "gpt-3.5-turbo"),
                    "karakuri-70b": chat(port, "karakuri-70b"),
                    "text-embedding-ada-002": request(port, "POST", "/v1/embeddings", embedding),
                }

        answers = await asyncio.to_thread(ask)

        assert {name: status for name, (status, _) in answers.items()} == dict.fromkeys(answers, 200)
        assert {name: json.loads(body)["model"] for name, (_, body) in answers.items()} == {n: n for n in answers}
        assert [backend.last.body["model"] for backend in (first, second, third)] == [
            "vicuna-13b",
            "karakuri-70b",
            "sentence-luke",
        ]
        assert third.last.body["input"] == "query: 夕飯はお肉です。"
        assert first.last.headers["authorization"] == "Bearer None"
        assert "ランダムに" in (tmp_path / "log").read_text("utf-8")


async def test_several_backends_stand_in_for_each_other_as_the_example_says(tmp_path):
    """While the first two are away the spare one answers, and while all three are, the small model does."""
    text = (ROOT / "examples" / "several-backends.yaml").read_text("utf-8")
    text = re.sub(r"gpu-[12]\.internal:8000", "127.0.0.1:9", text)  # nobody listens on the port of `discard`
    file = tmp_path / "config.yaml"
    async with running_backend() as small:
        with contextlib.ExitStack() as opened:
            async with running_backend() as spare:
                text = text.replace("spare.internal:8000", f"127.0.0.1:{spare.port}")
                file.write_text(text.replace("cpu-1.internal:8000", f"127.0.0.1:{small.port}"), "utf-8")
                port = await asyncio.to_thread(opened.enter_context, serving("--config", file, home=tmp_path))
                answers = [await asyncio.to_thread(chat, port, "chat")]
            answers.append(await asyncio.to_thread(chat, port, "chat"))
            await asyncio.to_thread(opened.close)

        assert [status for status, _ in answers] == [200, 200]
        assert [json.loads(body)["model"] for _, body in answers] == ["chat", "chat"]
        assert [spare.last.body["model"], small.last.body["model"]] == ["qwen3-14b", "qwen3-4b"]


def test_the_routing_example_answers_as_its_comments_say(tmp_path):
    """The two versions share `chat`, other names stand in for those that fail, and tags choose."""
    with serving("--config", ROOT / "examples" / "routing.yaml", home=tmp_path) as port:

        def said(model: str, **fields: object) -> str:
            status, body = chat(port, model, **fields)
            return str(json.loads(body)["choices"][0]["message"]["content"]) if status == 200 else body

        versions = {said("gpt-4o") for _ in range(200)}  # one in ten is new: never to see it takes luck of 1e-9
        others = [said(model) for model in ("unlucky", "short", "tagged")]
        tagged = said("tagged", tags=["research"])

    assert versions == {"Hello from the usual version.", "Hello from the new version."}
    assert others == [
        "Hello from the small model.",
        "Hello from the model with the long window.",
        "Hello from everybody's.",
    ]
    assert tagged == "Hello from research."
