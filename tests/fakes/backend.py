"""The mock backend in a test's own event loop, on a free port: what a test's proxy is pointed at."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ssl import SSLContext

from proxy_cli.mock.faults import NO_FAULTS, Faults
from proxy_cli.mock.journal import Seen
from proxy_cli.mock.server import MockBackend, Options, serving


class RunningBackend:
    """A mock backend that serves: where it is, and what it has seen."""

    def __init__(self, backend: MockBackend, port: int, scheme: str) -> None:
        self._backend = backend
        self.port = port
        self.origin = f"{scheme}://127.0.0.1:{port}"
        self.url = f"{self.origin}/v1"  # what a config calls api_base

    @property
    def requests(self) -> list[Seen]:
        """Every request so far, oldest first; entries change until they are `finished`."""
        return self._backend.journal.all()

    @property
    def last(self) -> Seen:
        """The newest request for a model; looks from outside come when they like."""
        return next(each for each in reversed(self.requests) if each.method == "POST")

    def clear(self) -> None:
        """Forget the requests seen."""
        self._backend.journal.clear()


@asynccontextmanager
async def running_backend(
    *,
    models: tuple[str, ...] = (),
    gap_s: float = 0.0,
    faults: Faults = NO_FAULTS,
    key: str | None = None,
    port: int = 0,
    ssl_context: SSLContext | None = None,
) -> AsyncIterator[RunningBackend]:
    """A backend that serves while the block runs; every option of `proxy_cli.mock.server.Options` may be given."""
    backend = MockBackend(Options(models=models, gap_s=gap_s, faults=faults, key=key))
    async with serving(backend, "127.0.0.1", port, ssl_context) as bound:
        yield RunningBackend(backend, bound, "https" if ssl_context else "http")
