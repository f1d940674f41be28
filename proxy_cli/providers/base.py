"""What a provider is: pure translation between a call and one backend's HTTP. No I/O, no clock, no state."""

from typing import Protocol

from proxy_cli.shapes import Call, Deployment, Headers, LocalReply, PlainAnswer, UpstreamRequest, Usage


class StreamReader(Protocol):
    """Turns the pieces of one backend stream into bytes for the caller, and counts beside them."""

    @property
    def usage(self) -> Usage | None:
        """What the backend has counted so far."""

    @property
    def finished(self) -> bool:
        """Whether the end mark was seen: `[DONE]`."""

    @property
    def seen(self) -> tuple[int, int]:
        """How many events with data, and bytes, have come so far: all there is to go by where no usage comes."""

    @property
    def error_event(self) -> bytes | None:
        """The first error that the backend reported inside the stream; a break after it tells nothing new."""

    def feed(self, data: bytes) -> bytes:
        """The bytes to send on for this piece; empty while an event is incomplete or dropped."""

    def end(self) -> bytes:
        """What is left when the backend has ended; `finished` then says whether that was a real end."""


class Provider(Protocol):
    """One dialect out."""

    def prepare(self, call: Call, deployment: Deployment, *, ask_usage: bool) -> UpstreamRequest | LocalReply:
        """The request to send. Raises UnsupportedParameter. `ask_usage`: the backend takes `stream_options`."""

    def read(self, call: Call, deployment: Deployment, status: int, headers: Headers, body: bytes) -> PlainAnswer:
        """The answer in a whole reply. Raises BackendError for status 400 and up (or a redirect)."""

    def stream_reader(self, call: Call, deployment: Deployment) -> StreamReader:
        """A reader for one stream."""

    def reply_headers(self, headers: Headers) -> Headers:
        """Of a backend's headers those the caller sees: `llm_provider-*`, its rate limits, its content type."""
