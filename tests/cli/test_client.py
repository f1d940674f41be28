"""How client commands find the proxy, and what they say when it does not answer."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from proxy_cli.cli.client import Client, ClientOptions, ClientProblem, Target, find_key, find_target, plain, refusal
from proxy_cli.secret import Secret
from tests.fakes.backend import running_backend

SECRET = "sk-this-must-never-be-shown"


@contextlib.contextmanager
def one_reply(reply: bytes | None) -> Iterator[int]:
    """A port that reads one request and writes these bytes; with None it stays silent until the end."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                if reply is None:
                    done.wait(10)
                    return
                connection.sendall(reply)
                # Unread bytes at a close would reset the connection before the client has read the reply.
                connection.shutdown(socket.SHUT_WR)
                with contextlib.suppress(OSError):
                    while connection.recv(65536):
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        done.set()
        thread.join(10)


def closed_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize(
    ("options", "environment", "address"),
    [
        (ClientOptions(), {}, "http://127.0.0.1:4000"),
        (ClientOptions(port=10080), {}, "http://127.0.0.1:10080"),
        (ClientOptions(host="0.0.0.0", port=1), {}, "http://127.0.0.1:1"),
        (ClientOptions(host="::"), {}, "http://[::1]:4000"),
        (ClientOptions(host="gateway"), {}, "http://gateway:4000"),
        (ClientOptions(), {"PORT": "10080"}, "http://127.0.0.1:10080"),
        (ClientOptions(), {"PORT": "1", "LLMPROXY_PORT": "2"}, "http://127.0.0.1:2"),
        (ClientOptions(), {"PORT": "many"}, "http://127.0.0.1:4000"),
        (ClientOptions(), {"PORT": "1", "LLMPROXY_URL": "https://llm.example"}, "https://llm.example:443"),
        (ClientOptions(port=5), {"LLMPROXY_URL": "https://llm.example"}, "http://127.0.0.1:5"),
        (ClientOptions(url="localhost:10080"), {"LLMPROXY_URL": "http://other"}, "http://localhost:10080"),
        (ClientOptions(url="http://localhost:10080/v1/"), {}, "http://localhost:10080"),
        (ClientOptions(url="http://host/llm/v1"), {}, "http://host:80/llm"),
        (ClientOptions(url="http://[::1]:9"), {}, "http://[::1]:9"),
    ],
)
def test_the_address_is_taken_from_flag_then_environment_then_default(options, environment, address):
    """--url over --host and --port over LLMPROXY_URL over 127.0.0.1:4000."""
    assert str(find_target(options, environment)) == address


@pytest.mark.parametrize(
    "url",
    ["ftp://host", "http://", "http://host:99999", "http://user:pass@host", "http://host:0", "not a url", "h/a\x00b"],
)
def test_an_address_that_cannot_be_is_one_sentence(url):
    """A bad address names the place it came from, and does not repeat what may hold a password."""
    with pytest.raises(ClientProblem, match="--url is not the address of a proxy") as caught:
        find_target(ClientOptions(url=url), {})

    assert "pass" not in str(caught.value)


def test_the_key_is_taken_from_flag_then_environment_then_file(tmp_path):
    """--key over LLMPROXY_API_KEY over LITELLM_MASTER_KEY over the file's master_key."""
    file = tmp_path / "config.yaml"
    file.write_text("model_list: []\ngeneral_settings: {master_key: os.environ/TEAM_KEY}\n")
    both = {"LLMPROXY_API_KEY": "a", "LITELLM_MASTER_KEY": "b", "TEAM_KEY": "f"}
    named = ClientOptions(config=str(file))

    assert find_key(ClientOptions(key="k", config=str(file)), both) == Secret("k")
    assert find_key(named, both) == Secret("a")
    assert find_key(named, {"LITELLM_MASTER_KEY": "b"}) == Secret("b")
    assert find_key(named, {"LLMPROXY_API_KEY": "", "TEAM_KEY": "f"}) == Secret("f")
    assert find_key(ClientOptions(), {}) is None


def test_a_file_without_a_readable_key_is_one_sentence(tmp_path):
    """Where the file is asked for the key and cannot be read, its first problem is told."""
    with pytest.raises(ClientProblem, match=r"the key cannot be read from the file: .*missing\.yaml"):
        find_key(ClientOptions(config=str(tmp_path / "missing.yaml")), {})


@pytest.mark.parametrize("key", ["sk-日本", "sk-a\nb", "sk-é"])
def test_a_key_that_no_header_carries_is_one_sentence(key):
    """It is told before anything is sent, and the key is not repeated."""
    with pytest.raises(ClientProblem, match="the key cannot be sent") as caught:
        find_key(ClientOptions(key=key), {})

    assert "sk-" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://a..b", f"http://{'x' * 64}.example", "http://127.0.0.1:1/日本"])
def test_an_address_that_cannot_be_encoded_is_one_sentence(url):
    """A name with an empty or endless label, a path beyond ASCII."""
    client = Client(find_target(ClientOptions(url=url), {}), None, 1)

    with pytest.raises(ClientProblem, match="is not an address that can be sent"):
        client.get_json("/v1/models")


async def test_a_request_carries_the_key_and_its_body():
    """What is sent is JSON in UTF-8 with the key as a bearer token."""
    async with running_backend(key=SECRET) as backend:
        client = Client(Target("http", "127.0.0.1", backend.port), Secret(SECRET), 10)

        def ask() -> int:
            with client.exchange("POST", "/v1/embeddings", {"model": "m", "input": "夕飯はお肉です。"}) as reply:
                return reply.status

        status = await asyncio.to_thread(ask)

        assert status == 200
        assert backend.last.headers["authorization"] == f"Bearer {SECRET}"
        assert backend.last.body["input"] == "夕飯はお肉です。"


async def test_a_body_in_bytes_is_sent_as_it_is_with_the_headers_that_are_given():
    """Those of the command's own win over the client's."""
    async with running_backend() as backend:
        client = Client(Target("http", "127.0.0.1", backend.port), None, 10)
        body = b'{"model" : "a", "messages" : []}'

        def ask():
            with client.exchange("POST", "/v1/chat/completions", body, {"x-team": "search", "accept": "a/b"}) as reply:
                return reply.status

        status = await asyncio.to_thread(ask)
        seen = backend.last

    assert status == 200
    assert seen.headers["x-team"] == "search"
    assert seen.headers["accept"] == "a/b"
    assert seen.body == {"model": "a", "messages": []}


async def test_a_wrong_key_is_answered_with_the_servers_words_and_where_keys_come_from():
    """A refusal tells the server's message and how to name another key, and not the key."""
    async with running_backend(key="another-key-than-that") as backend:
        client = Client(Target("http", "127.0.0.1", backend.port), Secret(SECRET), 10)

        def ask() -> str:
            with client.exchange("POST", "/v1/embeddings", {"model": "m", "input": "x"}) as reply:
                return refusal(reply.status, reply.json())

        sentence = await asyncio.to_thread(ask)

    assert sentence.startswith("the proxy answered 401")
    assert "--key" in sentence
    assert SECRET not in sentence


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (None, "did not answer within 0.2 s"),
        (b"", "broke off before its answer was complete"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal", "broke off before its answer was complete"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "broke off before its answer was complete"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", "did not answer with JSON"),
        (b"HTTP/1.1 500 x\r\ncontent-length: 2\r\n\r\nhi", "the proxy answered 500 Internal Server Error"),
    ],
)
def test_a_server_that_fails_is_one_sentence_with_its_address(reply, sentence):
    """Silence, a break and what is not HTTP each end in a sentence, never in a traceback."""
    with one_reply(reply) as port, pytest.raises(ClientProblem, match=sentence):
        Client(Target("http", "127.0.0.1", port), Secret(SECRET), 0.2).get_json("/v1/models")


def test_a_closed_port_is_one_sentence_that_says_what_to_do():
    """Connection refused names the address and the command that starts a proxy."""
    client = Client(Target("http", "127.0.0.1", closed_port()), None, 5)

    with pytest.raises(ClientProblem, match=r"nothing listens at http://127\.0\.0\.1:\d+ .*llmproxy --config FILE"):
        client.get_json("/v1/models")


def test_plain_http_where_tls_was_asked_for_is_one_sentence():
    """https:// to a server without TLS says so."""
    with (
        one_reply(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n") as port,
        pytest.raises(ClientProblem, match="does not speak TLS"),
    ):
        Client(Target("https", "127.0.0.1", port), None, 5).get_json("/v1/models")


def test_a_stream_is_read_event_by_event():
    """Events are told apart by their lines; comments are left out."""
    stream = b': ping\n\ndata: {"a": 1}\r\n\r\ndata:[DONE]\n\n'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    with one_reply(head + stream) as port:
        client = Client(Target("http", "127.0.0.1", port), None, 5)
        with client.exchange("POST", "/v1/chat/completions", {}) as reply:
            events = list(reply.events())

    assert events == ['{"a": 1}', "[DONE]"]


@pytest.mark.parametrize(
    ("value", "written"),
    [(2.5e-05, "0.000025"), (5.0, "5"), (0.0, "0"), (1250000.5, "1250000.5"), (60, "60"), (["日本"], '["日本"]')],
)
def test_a_value_is_written_as_people_write_it(value, written):
    """Amounts of money are digits, not powers of ten."""
    assert plain(value) == written
