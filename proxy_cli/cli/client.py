"""How client commands find a running proxy and speak to it.

Flag over environment over file over default, for the address and for the key. One plain blocking HTTP exchange at a
time over `http.client`: a client command needs no pool, and must not be led away by the HTTP_PROXY that the proxy's
own backends may need. Everything that goes wrong on the way becomes one sentence in a ClientProblem.
"""

import http.client
import json
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import click

from proxy_cli import __version__
from proxy_cli.cli.kinds import Number, Text
from proxy_cli.cli.surroundings import gather, working_folder
from proxy_cli.secret import Secret
from proxy_cli.shapes import Json

DEFAULT_PORT: Final = 4000
# Addresses a server listens on and nobody can call.
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1", "": "127.0.0.1"}  # noqa: S104 - not bound
_MADE_UP: Final = 64  # characters of an id that is a digest
_SHORT: Final = 12  # of these are shown
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_KEY_VARIABLES: Final = ("LLMPROXY_API_KEY", "LITELLM_MASTER_KEY")


class ClientProblem(Exception):
    """What kept a client command from its answer, in one sentence."""

    exit_code = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """What a client command was told; None where nothing was said."""

    url: str | None = None
    host: str | None = None
    port: int | None = None
    key: str | None = None
    model: str | None = None
    config: str | None = None
    json: bool = False
    timeout: float | None = None  # seconds for one exchange


def tell(problem: ClientProblem, options: ClientOptions) -> int:
    """Say why there is no answer, in the form that was asked for; the exit code."""
    if options.json:
        click.echo(json.dumps({"ok": False, "error": str(problem)}, ensure_ascii=False, indent=2))
    else:
        click.echo(f"llmproxy: {problem}", err=True)
    return problem.exit_code


def short_id(name: str) -> str:
    """An id as people can read it: of one that was made up of what the entry says, its beginning, which is enough."""
    return name[:_SHORT] if len(name) == _MADE_UP else name


def plain(value: Json) -> str:
    """A value as people write it: amounts of money in digits, and never as powers of ten."""
    if isinstance(value, float):
        return f"{value:.9f}".rstrip("0").rstrip(".")
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Target:
    """Where the proxy is: its base address, with no slash at the end and without /v1."""

    scheme: str
    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def find_target(options: ClientOptions, environment: Mapping[str, str]) -> Target:
    """The address a command means. Raises ClientProblem for one that cannot be."""
    if options.url:
        return read_url(options.url, "--url")
    if options.host is None and options.port is None and environment.get("LLMPROXY_URL"):
        return read_url(environment["LLMPROXY_URL"], "LLMPROXY_URL")
    host = options.host or "127.0.0.1"
    return Target("http", _EVERYWHERE.get(host, host), options.port or _served_port(environment))


def _served_port(environment: Mapping[str, str]) -> int:
    """The port that the same variables make a proxy listen on; what cannot be a port is left to it to say."""
    text = environment.get("LLMPROXY_PORT") or environment.get("PORT") or ""
    return int(text) if text.isdecimal() and 0 < int(text) < 65536 else DEFAULT_PORT


def read_url(text: str, source: str) -> Target:
    """An address as people write it: the scheme and a final /v1 may be there or not."""
    parts = _split(text if "://" in text else f"http://{text}", source)
    host = parts.hostname or ""
    path = parts.path.rstrip("/").removesuffix("/v1")
    standard = 443 if parts.scheme == "https" else 80
    return Target(parts.scheme, _EVERYWHERE.get(host, host), parts.port or standard, path)


def _split(text: str, source: str) -> SplitResult:
    problem = ClientProblem(f"{source} is not the address of a proxy; write it as http://localhost:{DEFAULT_PORT}")
    try:
        parts = urlsplit(text)
        usable = parts.port != 0 and parts.username is None and text.isprintable() and " " not in text
    except ValueError:
        raise problem from None
    if not usable or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise problem
    return parts


def find_key(options: ClientOptions, environment: Mapping[str, str]) -> Secret | None:
    """The key to send, or None: many proxies need none. Raises ClientProblem for a file that cannot be read."""
    named = [options.key, *(environment.get(name) for name in _KEY_VARIABLES)]
    given = next(filter(None, named), None)
    if given is None and options.config is not None:
        return _configured_key(Path(options.config), environment)
    if given and not (given.isascii() and given.isprintable()):
        raise ClientProblem("the key cannot be sent: it must be printable ASCII on one line, as all keys are")
    return Secret(given) if given else None


def _configured_key(file: Path, environment: Mapping[str, str]) -> Secret | None:
    from proxy_cli.config.load import load  # noqa: PLC0415 - only who names a file waits for the settings' rules

    loaded = load(file, environment)
    if loaded.config is None:
        first = next(iter(loaded.problems), "it is empty")
        raise ClientProblem(f"the key cannot be read from the file: {first}")
    return loaded.config.general_settings.master_key


def client_parameters(*, model: bool = False) -> list[click.Parameter]:
    """The options of a client command; their names are the fields of ClientOptions."""
    text = Text()
    parameters: list[click.Parameter] = [
        click.Option(["--url"], type=text, help="Address of the proxy (else LLMPROXY_URL, else --host and --port)."),
        click.Option(["--host"], type=text, help="Its host (127.0.0.1)."),
        click.Option(["--port"], type=Number(1, 65535), help=f"Its port ({DEFAULT_PORT})."),
        click.Option(["--key"], type=text, help="Key to send (else LLMPROXY_API_KEY, LITELLM_MASTER_KEY, the file's)."),
        click.Option(["-c", "--config"], type=text, help="The YAML file."),
        click.Option(["--timeout"], type=Number(0.001, whole=False), help="Seconds to wait for an answer."),
        click.Option(["--json"], is_flag=True, default=None, help="Print the result as JSON."),
    ]
    if model:
        parameters.append(click.Option(["-m", "--model"], type=text, help="The model (else the first of /v1/models)."))
    return parameters


def given() -> tuple[ClientOptions, Mapping[str, str]]:
    """What the running command was told, after its name or before it, and the variables that surround it."""
    context = click.get_current_context()
    before = context.parent.params if context.parent else {}
    known = {each.name for each in fields(ClientOptions)}  # a command may have more options, of its own
    values: dict[str, Any] = {
        name: before.get(name) if value is None else value for name, value in context.params.items() if name in known
    }
    options = ClientOptions(**{**values, "json": bool(values["json"])})
    return options, gather(os.environ, working_folder()).environ


class Reply:
    """A reply whose head has arrived. Reading it raises ClientProblem when the rest does not come."""

    def __init__(self, response: http.client.HTTPResponse, target: Target, timeout_s: float) -> None:
        self._response = response
        self._target = target
        self._timeout_s = timeout_s
        self.status = response.status

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        return self._response.headers.get(name)

    def text(self) -> str:
        """The whole body."""
        with _told(self._target, self._timeout_s):
            return self._response.read().decode("utf-8", "replace")

    def json(self) -> Json:
        """The whole body, decoded; None where it is not JSON."""
        try:
            return json.loads(self.text())
        except json.JSONDecodeError:
            return None

    def events(self) -> Iterator[str]:
        """The data of each event of a stream, as it arrives."""
        while line := self._line():
            if line.startswith(b"data:"):
                yield line[5:].strip().decode("utf-8", "replace")

    def _line(self) -> bytes:
        with _told(self._target, self._timeout_s):
            return self._response.readline()


class Client:
    """Speaks to one proxy."""

    def __init__(self, target: Target, key: Secret | None, timeout_s: float) -> None:
        self.target = target
        self._key = key
        self._timeout_s = timeout_s

    @contextmanager
    def exchange(
        self, method: str, path: str, body: Json = None, headers: Mapping[str, str] = _NO_HEADERS
    ) -> Iterator[Reply]:
        """One request and its reply; bytes are sent as they are. Raises ClientProblem when there is none."""
        connection = self._connection()
        data = body if body is None or isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        try:
            with _told(self.target, self._timeout_s):
                connection.request(method, self.target.path + path, data, {**self._headers(data), **headers})
                response = connection.getresponse()
            yield Reply(response, self.target, self._timeout_s)
        finally:
            connection.close()

    def get_json(self, path: str) -> Json:
        """What a GET answers. Raises ClientProblem for an error, and for what is not JSON."""
        return self._json("GET", path)

    def post_json(self, path: str, body: Json = None) -> Json:
        """What a POST answers. Raises as `get_json` does."""
        return self._json("POST", path, body)

    def _json(self, method: str, path: str, body: Json = None) -> Json:
        with self.exchange(method, path, body) as reply:
            found = reply.json()
        if reply.status >= 400:
            raise ClientProblem(refusal(reply.status, found))
        if found is None:
            raise ClientProblem(f"{self.target}{path} did not answer with JSON: is it the address of an llmproxy?")
        return found

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self.target.host, self.target.port
        if self.target.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=context)
        return http.client.HTTPConnection(host, port, timeout=self._timeout_s)

    def _headers(self, data: bytes | None) -> dict[str, str]:
        headers = {"user-agent": f"llmproxy/{__version__}", "accept": "*/*"}
        if data is not None:
            headers["content-type"] = "application/json"
        if self._key:
            headers["authorization"] = f"Bearer {self._key.reveal()}"
        return headers


@contextmanager
def _told(target: Target, timeout_s: float) -> Iterator[None]:
    """Turn what sockets, TLS and HTTP raise into a sentence; only around these, not around what callers do."""
    try:
        yield
    except UnicodeError as failure:
        raise ClientProblem(f"{target} is not an address that can be sent; check it") from failure
    except (OSError, http.client.HTTPException) as failure:
        raise ClientProblem(_sentence(failure, target, timeout_s)) from failure


def _sentence(failure: Exception, target: Target, timeout_s: float) -> str:
    match failure:
        case ConnectionRefusedError():
            return (
                f"nothing listens at {target} (connection refused): "
                "start the proxy with `llmproxy --config FILE`, or name its address with --url"
            )
        case TimeoutError():
            return f"{target} did not answer within {timeout_s:g} s; --timeout allows more"
        case ssl.SSLCertVerificationError():
            why = failure.verify_message
            return f"the certificate of {target} is not trusted ({why}); SSL_CERT_FILE may name one that is"
        case ssl.SSLError():
            return f"{target} does not speak TLS as it should ({failure.reason}); is it http:// perhaps?"
        case socket.gaierror():
            return f"there is no host named {target.host!r}; check the address"
        case http.client.HTTPException() | ConnectionError():
            perhaps = "" if target.scheme == "https" else "; is it https:// perhaps?"
            return f"{target} broke off before its answer was complete ({type(failure).__name__}){perhaps}"
        case _:
            return f"{target} cannot be reached: {failure.args[-1] if failure.args else type(failure).__name__}"


def refusal(status: int, body: Json) -> str:
    """An error reply in one sentence: the server's own message where it sent one."""
    message = error_message(body)
    sentence = f"the proxy answered {status} {http.client.responses.get(status, '')}".rstrip()
    if message:
        sentence = f"{sentence}: {message}"
    if status in {401, 403}:
        sentence = f"{sentence} (--key or LLMPROXY_API_KEY names the key)"
    return sentence


def error_message(body: Json) -> str:
    """The message of an error object, or nothing."""
    error = body.get("error") if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else ""
