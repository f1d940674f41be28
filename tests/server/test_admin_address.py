"""Operators may have an address of their own: what is no matter of models is answered there, and there alone."""

import asyncio
import contextlib
import http.client
import json
import socket

import pytest

from proxy_cli.server.admin_address import AdminAddress, exposure
from tests.fakes.command import Command, free_port

MASTER = "sk-master-1234567890abcdef"
CONFIG = """\
model_list:
  - model_name: hello
    litellm_params: {{model: openai/hello, mock_response: hi}}
general_settings: {{master_key: {master}, admin_bind: "{bind}", drain_wait_seconds: 0}}
"""


class Named(asyncio.BaseTransport):
    """A connection that came to an address."""

    def __init__(self, name: object) -> None:
        super().__init__({"sockname": name})


@pytest.mark.parametrize(
    ("host", "name", "expected"),
    [
        ("127.0.0.1", ("127.0.0.1", "own"), True),
        ("127.0.0.1", ("10.0.0.7", "own"), False),
        ("127.0.0.1", ("127.0.0.1", 1), False),
        ("0.0.0.0", ("10.0.0.7", "own"), True),
        ("0.0.0.0", ("10.0.0.7", 1), False),
        ("127.0.0.1", "", False),
        ("127.0.0.1", None, False),
    ],
)
def test_a_connection_is_judged_by_the_address_that_it_came_to(host, name, expected):
    """As the kernel has it; one that listens on all of them is told by its port."""
    with socket.create_server((host, 0)) as listener:
        own = listener.getsockname()[1]
        address = AdminAddress(listener)
        came_to = (name[0], own if name[1] == "own" else name[1]) if isinstance(name, tuple) else name

        assert address.is_of(Named(came_to)) is expected
        assert not address.is_of(None)


@pytest.mark.row("O-12")
@pytest.mark.parametrize(
    ("host", "bind", "is_secure", "told"),
    [
        ("0.0.0.0", None, False, "0.0.0.0"),
        ("0.0.0.0", None, True, ""),
        ("127.0.0.1", None, False, ""),
        ("0.0.0.0", "127.0.0.1:4001", False, ""),
        ("0.0.0.0", "unix:/run/a.sock", False, ""),
        ("127.0.0.1", "10.0.0.7:4001", False, "10.0.0.7"),
    ],
)
def test_an_admin_api_that_others_may_listen_to_is_told(host, bind, is_secure, told):
    """With its address and the two cures."""
    said = " ".join(exposure(host, bind, is_secure=is_secure))

    assert bool(said) == bool(told)
    assert not said or all(each in said for each in (f"without TLS at {told}", "--ssl_certfile_path", "admin_bind"))


def status(place: int | str, method: str, path: str, body=None) -> int:
    """The status of one request by the operator, to a port or a socket in the file system."""
    connection = http.client.HTTPConnection("127.0.0.1", place if isinstance(place, int) else 80, timeout=20)
    if isinstance(place, str):
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(place)
    headers = {"authorization": f"Bearer {MASTER}", "content-type": "application/json"}
    with contextlib.closing(connection):
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        return connection.getresponse().status


OPERATORS: list[tuple[str, str, dict[str, str] | None]] = [
    ("POST", "/key/generate", {}),
    ("GET", "/key/list", None),
    ("GET", "/health", None),
    ("GET", "/metrics", None),
    ("GET", "/docs", None),
    ("GET", "/model/info", None),
    ("POST", "/config/reload", {}),
]
HELLO = {"model": "hello", "messages": [{"role": "user", "content": "hi"}]}
CALLERS = [
    ("POST", "/v1/chat/completions", HELLO),
    ("GET", "/v1/models", None),
    ("GET", "/v1/models/hello", None),
    ("GET", "/health/readiness", None),
    ("GET", "/health/liveliness?x=1", None),
]


@pytest.mark.row("O-12")
@pytest.mark.parametrize("kind", ["port", "unix"])
def test_what_is_for_operators_is_answered_at_their_address_alone(tmp_path, kind):
    """By each of two processes; models are answered at both addresses, and a header changes nothing."""
    port, own = free_port(), free_port()
    place: int | str = own if kind == "port" else str(tmp_path / "admin.sock")
    command = Command(tmp_path)
    command.write(
        "c.yaml", CONFIG.format(master=MASTER, bind=f"127.0.0.1:{own}" if kind == "port" else f"unix:{place}")
    )
    words = ["--config", "c.yaml", "--host", "127.0.0.1", "--port", str(port), "--num_workers", "2"]
    try:
        process = command.serve(*words, port=port, LLMPROXY_DATA_DIR=str(tmp_path / "data"), PYTHONWARNINGS="default")
        outside = {status(port, *asked) for asked in OPERATORS for _ in range(2)}
        inside = {status(place, *asked) for asked in OPERATORS for _ in range(2)}
        models = {status(each, *asked) for asked in CALLERS for each in (port, place)}
        process.terminate()
        process.communicate(timeout=20)
    finally:
        command.close()

    assert (outside, inside, models) == ({404}, {200}, {200})
    assert process.returncode == 0
    assert not (tmp_path / "admin.sock").exists()
