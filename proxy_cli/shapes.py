"""The small values that a request is handed down as and handed back as.

All are immutable but for the few that say so. Rooms exchange these and nothing else: what a later room needs is
a field with a type here, never a key in a dictionary of odds and ends. What is made at the start is a dataclass; what
is made for each request is a msgspec Struct, which is made in C in a tenth of the time; `msgspec.structs.replace` makes
a changed copy of one. Those that hold plain values alone are kept from the garbage collector (`gc=False`); a body that
is still being read may lead back to the call through the traceback of its failure.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Protocol
from urllib.parse import quote

import msgspec

from proxy_cli.callers import ANYONE, Caller
from proxy_cli.secret import Secret

Json = Any  # a decoded JSON value, at the wire only
Headers = tuple[tuple[str, str], ...]  # names in lower case, in order, duplicates kept
Fields = dict[str, msgspec.Raw]  # the top-level fields of a JSON object, each still as its bytes

NOTHING: Final[Mapping[str, Json]] = MappingProxyType({})


def _nothing() -> Mapping[str, Json]:
    """NOTHING as a default: Python 3.11 takes a read-only mapping for a mutable one."""
    return NOTHING


class Operation(StrEnum):
    """What is asked of a model; the value is the path below an OpenAI-compatible base URL."""

    CHAT = "chat/completions"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    MODERATIONS = "moderations"
    IMAGE_GENERATIONS = "images/generations"
    IMAGE_EDITS = "images/edits"
    IMAGE_VARIATIONS = "images/variations"
    SPEECH = "audio/speech"
    TRANSCRIPTIONS = "audio/transcriptions"
    TRANSLATIONS = "audio/translations"
    RERANK = "rerank"
    RESPONSES = "responses"


class Tls(msgspec.Struct, frozen=True, gc=False):
    """How a server proves who it is, and we to it. What is None or True is as usual."""

    verify: bool | str = True  # by the system's certificates, by those in a file or folder, or not at all
    certificate: str | None = None  # a PEM file with a certificate of ours
    keyfile: str | None = None  # its key, where that has a file of its own


class Proxy(msgspec.Struct, frozen=True, gc=False):
    """An HTTP proxy on the way to a server; spoken to in plain HTTP."""

    host: str
    port: int
    authorization: Secret | None = None  # the value of Proxy-Authorization

    def __str__(self) -> str:
        return str(Backend("http", self.host, self.port))


USUAL_TLS: Final = Tls()


class Backend(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """A server that deployments stand on, and the way to it: the unit of connection pools."""

    scheme: str  # http or https
    host: str  # a name, an IPv4 address, or an IPv6 address without brackets
    port: int
    tls: Tls = USUAL_TLS  # of an https one
    proxy: Proxy | None = None

    @property
    def authority(self) -> str:
        """As in a Host header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        standard = 443 if self.scheme == "https" else 80
        return host if self.port == standard else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


class Timeouts(msgspec.Struct, frozen=True, gc=False):
    """The timers of one exchange with a backend, in seconds; None means no limit."""

    connect_s: float = 5.0
    first_byte_s: float | None = 600.0  # from the end of sending to the first of the reply's body
    total_s: float | None = 600.0  # a whole plain call; a stream has none by default
    gap_s: float | None = 120.0  # between two pieces of a reply, once data came
    set_by_caller: bool = False  # then running out is the caller's 408, not our 504


class BodySource(Protocol):
    """A request body that is sent while it is still being read."""

    @property
    def length(self) -> int | None:
        """Bytes in all, or None: sent in chunks."""

    async def read(self) -> bytes:
        """The next piece; empty at the end."""


class Upload(Protocol):
    """A multipart body on its way through; the part named `model` is the only one that is rewritten."""

    content_type: str

    def rewritten(self, model: str, defaults: Mapping[str, str]) -> BodySource:
        """The same body with another model name, and fields added that the form does not have."""

    def close(self) -> None:
        """Give the temporary file back."""


class UpstreamRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request to a backend, ready to be written."""

    backend: Backend
    target: str  # path and query, already percent-encoded
    headers: Headers  # without host, connection, content-length, transfer-encoding: the upstream room adds them
    body: bytes | BodySource
    timeouts: Timeouts
    method: str = "POST"
    stream: bool = False  # an event stream is expected


class UpstreamReply(Protocol):
    """A backend's reply whose head has arrived. Close it always; that is free once it was read to the end."""

    status: int
    headers: Headers

    async def read(self) -> bytes:
        """The whole body (decoded from gzip or deflate). Raises BackendBroken, BackendTimeout or CallerTimeout."""

    async def chunk(self) -> bytes:
        """The next piece as it came, empty at the end of a reply that ended as it should."""

    async def pour(self, sink: Callable[[bytes], None]) -> None:
        """Hand each piece to `sink` as it comes; come back at the end of a reply that ended as it should.

        Raises what `chunk` raises, after which pieces it may be called, and what `sink` raises, which closes the reply.
        """

    def pause(self) -> None:
        """The caller can take no more: `sink` gets what is here and no more, and the backend stalls in time."""

    def resume(self) -> None:
        """The caller can take more. Both may be called twice, and change nothing once the reply has ended."""

    def close(self) -> None:
        """Drop the connection unless the reply is complete. Never raises, may be called twice."""


class LocalReply(msgspec.Struct, frozen=True, gc=False):
    """What `mock_response` says: a reply that needs no backend. `chunks` are the events of a stream."""

    status: int
    headers: Headers
    body: bytes = b""
    chunks: tuple[bytes, ...] = ()


class Mirror(msgspec.Struct, frozen=True, gc=False):
    """Where copies of a deployment's calls go, and of how many; their answers are only put down."""

    model: str
    percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One entry of `model_list`, resolved: what to call, where, and with what."""

    id: str
    group: str  # the public name: model_name
    model: str  # the backend's own name, without the provider's prefix
    provider: str  # the name of a row in providers/catalog.py
    backend: Backend
    base_path: str = ""  # of api_base, without a slash at the end: "/v1"
    api_key: Secret | None = None
    api_version: str | None = None
    headers: Headers = ()  # extra_headers
    defaults: Mapping[str, Json] = field(default_factory=_nothing)  # fields the caller may override
    forced: Mapping[str, Json] = field(default_factory=_nothing)  # not to be overridden (--temperature)
    drop_params: bool = False
    additional_drop_params: tuple[str, ...] = ()
    allowed_openai_params: frozenset[str] = frozenset()
    add_function_to_prompt: bool = False
    refuses: frozenset[str] = frozenset()  # fields that the target is known not to take
    takes_tools: bool | None = None  # None: nothing is known
    rates: Mapping[str, Json] = field(default_factory=_nothing)  # USD, by the price table's field names
    forward_client_headers: bool = False
    forward_organization: bool = False
    organization: str | None = None
    mock_response: Json = None
    timeout_s: float | None = None
    stream_timeout_s: float | None = None
    weight: float = 1.0
    order: int | None = None  # lower ones are asked first; those without one last
    tags: tuple[str, ...] = ()
    tag_patterns: tuple[str, ...] = ()  # tag_regex: matched with `User-Agent: ...`
    max_parallel: int | None = None  # calls at a time
    rpm: int | None = None  # requests a minute
    tpm: int | None = None  # tokens a minute
    retries: int | None = None  # tries after the first, where the entry says so
    rest_s: float | None = None  # cooldown_time
    allowed_fails: int | None = None  # failures a minute before it rests
    allowed_fails_policy: Mapping[str, int] = field(default_factory=_nothing)  # likewise by kind of failure
    heartbeat_s: float | None = None  # keepalive_seconds: how often a silent stream gets a ping; 0: never
    region: str | None = None
    window: int | None = None  # tokens of a prompt, at most
    mirror: Mirror | None = None
    probed: bool = True  # looked at in the background
    refusal: str = ""  # why it is never asked: what it costs is not known, and must be
    mode: str | None = None  # model_info.mode: chat, embedding, ...
    info: Mapping[str, Json] = field(default_factory=_nothing)  # model_info as written, without secrets
    params: Mapping[str, Json] = field(default_factory=_nothing)  # litellm_params, likewise, for /model/info
    # What a room has worked out of the fields above, once: written by that room alone, under a type of its own. A
    # changed copy begins without.
    worked_out: dict[type, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    is_limited: bool = field(init=False, repr=False, compare=False)  # whether calls may have to wait for a place
    # The address below which its paths are, as people read it; empty where no backend is asked.
    api_base: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        limited = not (self.max_parallel is None and self.rpm is None and self.tpm is None)
        object.__setattr__(self, "is_limited", limited)
        base = "" if self.mock_response is not None else f"{self.backend}{self.base_path}"
        object.__setattr__(self, "api_base", base)

    def url(self, path: str) -> str:
        """The full address of a path below the base, as people read it."""
        return f"{self.backend}{self.base_path}/{path}"


class Target(msgspec.Struct, frozen=True):
    """A name to ask instead, and the fields of the body that are then different."""

    model: str
    fields: Mapping[str, msgspec.Raw] = NOTHING


Targets = Mapping[str, tuple[Target, ...]]  # by the name that failed; `*` stands for any


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """The fields of a request that steer us, taken out of what the backend sees."""

    timeout_s: float | None = None
    stream_timeout_s: float | None = None
    drop_params: bool | None = None
    additional_drop_params: tuple[str, ...] = ()
    allowed_openai_params: frozenset[str] = frozenset()
    retries: int | None = None  # num_retries
    fallbacks: tuple[Target, ...] | None = None  # instead of the configured ones
    context_window_fallbacks: Targets | None = None
    content_policy_fallbacks: Targets | None = None
    max_fallbacks: int | None = None
    no_fallbacks: bool = False  # disable_fallbacks
    priority: int | None = None  # 0 goes first, 255 last
    tags: tuple[str, ...] = ()  # metadata.tags, tags, x-litellm-tags
    mock_failures: frozenset[str] = frozenset()  # the `mock_testing_...` fields that are true
    mock_response: Json = None  # the answer itself, of a caller who may say it
    heartbeat_s: float | None = None  # x-litellm-keepalive-seconds
    region: str | None = None  # allowed_model_region
    explain: bool = False  # x-llmproxy-explain: a dry run, nothing is sent
    present: tuple[str, ...] = ()  # every steering field found at the root of the body: not sent on
    unused: tuple[str, ...] = ()  # those of them that do nothing yet: named in a response header


NO_CONTROLS: Final = Controls()


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one answer, as the backend counted them. A zero is a value, not a gap."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0  # part of prompt_tokens
    cache_creation_tokens: int = 0  # part of prompt_tokens
    reasoning_tokens: int = 0  # part of completion_tokens
    audio_prompt_tokens: int = 0
    audio_completion_tokens: int = 0
    seconds: float = 0.0  # of audio, where that is what is billed
    characters: int = 0  # of text to be spoken
    images: int = 0  # that were made
    queries: int = 0  # of reranking, in the backend's own units
    cache_creation_hour_tokens: int = 0  # part of cache_creation_tokens: what is kept for an hour
    image_prompt_tokens: int = 0  # part of prompt_tokens
    image_completion_tokens: int = 0  # part of completion_tokens
    searches: int = 0  # of the web, by the backend
    search_size: str = ""  # how much of each was read: low, medium, high
    picture: str = ""  # quality and size of the images: "hd/1024x1024"
    tier: str = ""  # of service, where it has prices of its own: flex, priority, ...
    problem: str = ""  # what is wrong with how it was counted: a kind, for a metric

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


class Account(Protocol):
    """What one call is charged to: made before it is sent, told of its first attempt, settled once at its end."""

    @property
    def reserved_nano(self) -> int:
        """The money that is set aside for it."""

    @property
    def keeps_words(self) -> bool:
        """Whether its prompt and its answer are kept with its row."""

    def keep(self, data: bytes) -> None:
        """The answer, or the next piece of it."""

    def told(self) -> str:
        """What is left of the limits that hold for it, as the lines of headers."""

    def begin(self, deployment: Deployment) -> None:
        """A backend is about to be asked: from now on this call has a row in the ledger. Raises Overloaded."""

    def settle(
        self, deployment: Deployment, usage: Usage | None, source: str, cost_nano: int, record: "Record"
    ) -> None:
        """It was answered; `usage` is what it used, `cost_nano` what that costs. The first word counts."""

    def close(self, record: "Record") -> None:
        """It has ended without an answer, or was settled."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request for a model, as the caller made it."""

    request_id: str
    operation: Operation
    model: str  # the name asked for
    body: bytes | Upload
    fields: Fields = msgspec.field(default_factory=dict)
    stream: bool = False
    wants_usage: bool = False  # stream_options.include_usage
    headers: Headers = ()  # the caller's own
    controls: Controls = NO_CONTROLS
    received_s: float = 0.0  # monotonic
    named: str = ""  # what the caller named, where a fallback asks for another model
    caller: Caller = ANYONE
    account: Account | None = None  # what it is charged to, where that is kept

    @property
    def shown_model(self) -> str:
        """The model's name as the caller is to see it: the one asked for, whoever has answered."""
        return self.named or self.model


class PlainAnswer(msgspec.Struct, frozen=True, gc=False):
    """A provider's reading of a whole reply."""

    status: int
    headers: Headers  # ready for the caller: llm_provider-*, x-ratelimit-*, content-type
    body: bytes
    usage: Usage | None = None


class Record(msgspec.Struct, gc=False, kw_only=True):
    """What one call came to; filled in by the gateway and the reply, read by telemetry. Mutable until it is added."""

    request_id: str
    route: str
    method: str = "POST"
    model: str = ""
    deployment: Deployment | None = None
    status: int = 0
    stream: bool = False
    error: str | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    started_s: float = 0.0  # monotonic
    first_byte_s: float | None = None  # monotonic, when the first byte went to the caller
    ended_s: float = 0.0
    bytes_out: int = 0
    delivered: bool = False  # a stream's end mark has gone to the caller; leaving after it is no failure
    client: str = ""
    attempts: int = 0
    key: str = ""  # a hint, never the key
    caller: Caller = ANYONE
    error_code: str | None = None  # of the GatewayError, where one was told
    has_place: bool = False  # among the requests under way, of which there is a bounded number
    waited_s: float | None = None  # for the backend: up to its whole answer, or to a stream's first bytes
    queued_s: float = 0.0  # for a place at a deployment
    call_id: str = ""  # the caller's own name for it, or ours
    answer_id: str = ""  # the backend's
    is_read_on: bool = False  # its caller has left, and the end of its stream is waited for to know what it used


def header_text(text: str) -> str:
    """A text made fit for a header value: printable ASCII as it is, all else percent-encoded."""
    if text.isascii() and text.isprintable() and "%" not in text and "\\" not in text:
        return text
    return quote(text, safe=" !\"#$&'()*+,/:;<=>?@[]^`{|}~")


def first_header(headers: Sequence[tuple[str, str]], name: str) -> str | None:
    """The first value of a header, by its lower-case name."""
    for key, value in headers:
        if key == name:
            return value
    return None
