"""The real command in a process of its own, in a folder and with variables of its own."""

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom

ROOT = Path(__file__).resolve().parent.parent.parent
AT_MOST_S = 30
_PORTS = range(10_240, 32_000)

HELLO = """\
model_list:
  - model_name: hello
    litellm_params: {model: openai/hello, mock_response: こんにちは}
"""


def free_port() -> int:
    """A port that nobody listens on, of those that the system gives to nobody unasked, as it does to other tests."""
    for port in SystemRandom().sample(_PORTS, 50):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("fifty ports, and all are taken")


@dataclass
class Command:
    """Runs `llmproxy` in one folder; what still runs at the end is killed."""

    folder: Path
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def write(self, name: str, text: str) -> Path:
        """A file in the folder, readable by its owner alone."""
        file = self.folder / name
        file.write_text(text, encoding="utf-8")
        file.chmod(0o600)
        return file

    def environ(self, variables) -> dict[str, str]:
        """Nothing of the machine's own variables but the path."""
        own = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LLMPROXY_CONFIG_DIR": str(self.folder / "kept")}
        return {**own, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **variables}

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command that ends by itself."""
        return subprocess.run(
            [sys.executable, "-m", "proxy_cli", *arguments],
            cwd=self.folder,
            env=self.environ(variables),
            capture_output=True,
            text=True,
            timeout=AT_MOST_S,
        )

    def serve(
        self, *arguments: str, port: int = 0, host: str = "127.0.0.1", path: Path | None = None, **variables: str
    ) -> subprocess.Popen[str]:
        """Start a command that serves, and wait until the port, or the socket at a path, is open."""
        process = subprocess.Popen(
            [sys.executable, "-m", "proxy_cli", *arguments],
            cwd=self.folder,
            env=self.environ(variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.running.append(process)
        until = time.monotonic() + AT_MOST_S
        while time.monotonic() < until and process.poll() is None:
            with contextlib.suppress(OSError), _connected(host, port, path):
                return process
            time.sleep(0.02)
        raise AssertionError(f"it does not serve: {process.communicate()}")

    def close(self) -> None:
        """Leave nothing behind."""
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def _connected(host: str, port: int, path: Path | None) -> socket.socket:
    if path is None:
        return socket.create_connection((host, port), timeout=1)
    client = socket.socket(socket.AF_UNIX)
    try:
        client.connect(str(path))
    except OSError:
        client.close()
        raise
    return client


def ended(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str]:
    """End a serving command by a signal; its exit code and what it wrote to standard error."""
    process.send_signal(number)
    _, errors = process.communicate(timeout=AT_MOST_S)
    return process.returncode, errors


def ask(port: int, path: str = "/v1/models", body=None, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None):
    """One request; status and decoded JSON."""
    if tls is None:
        connection = http.client.HTTPConnection(host, port, timeout=AT_MOST_S)
    else:
        connection = http.client.HTTPSConnection(host, port, timeout=AT_MOST_S, context=tls)
    with contextlib.closing(connection):
        data = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", path, data, {"content-type": "application/json"})
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())


def chat(port: int, model: str = "hello", **more):
    """The text that a model answers with."""
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    status, answer = ask(port, "/v1/chat/completions", body, **more)
    assert status == 200, answer
    return answer["choices"][0]["message"]["content"]
