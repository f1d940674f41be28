"""llmproxy itself in a test's event loop: prepared from a configuration text as `serve` would, on a free port."""

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent

import aiohttp

from proxy_cli.config.flags import Flags
from proxy_cli.server.app import Server
from proxy_cli.server.reload import Renewal
from proxy_cli.server.setup import Setup, prepare
from proxy_cli.store.settings import FILE_NAME
from tests.fakes.store import fresh_settings


@dataclass(frozen=True, slots=True)
class RunningProxy:
    """A proxy that serves, and a client for it."""

    setup: Setup
    origin: str
    client: aiohttp.ClientSession
    port: int
    server: Server

    def post(self, path: str, json=None, **more):
        """A request with a JSON body."""
        return self.client.post(self.origin + path, json=json, **more)

    def get(self, path: str, **more):
        """A request without a body."""
        return self.client.get(self.origin + path, **more)


def prepared(config: str | None, environ: Mapping[str, str] | None = None, **flags) -> Setup:
    """The setup of a configuration text; fails with its problems."""
    with TemporaryDirectory() as folder:
        path = None
        if config is not None:
            path = Path(folder) / "config.yaml"
            path.write_text(dedent(config), encoding="utf-8")
            path.chmod(0o600)
        flags.setdefault("host", "127.0.0.1")
        result = prepare(Flags(config=path, **flags), environ or {})
    assert result.setup is not None, [*map(str, result.problems), *result.sentences]
    return result.setup


def kept_in(folder: Path | None) -> dict[str, str]:
    """The variables of a proxy that keeps things in a folder, with a database that is there already."""
    if folder is None:
        return {}
    if not (folder / FILE_NAME).exists():
        folder.mkdir(parents=True, exist_ok=True)
        fresh_settings(folder)
    return {"LLMPROXY_DATA_DIR": str(folder)}


async def nobody_reloads(*, patient: bool = False) -> Renewal:
    """What a reload comes to in a test that is not about it."""
    return Renewal(False, ("this server has no file to read again",))


@asynccontextmanager
async def running_proxy(
    config: str | None, environ: Mapping[str, str] | None = None, *, keeps: Path | None = None, **flags
) -> AsyncIterator[RunningProxy]:
    """A proxy that serves while the block runs; flags are those of `proxy_cli.config.flags.Flags`.

    It looks at no server in the background: what a backend has seen is what the test has asked. `keeps`: a folder for
    its database and journal; without one it keeps nothing, whatever the configuration says.
    """
    setup = prepared(config, {**(environ or {}), **kept_in(keeps)}, **flags)
    if keeps is not None:
        setup = setup.with_books()
    setup = replace(setup, probing=replace(setup.probing, first_s=3600.0))
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = Server(setup, nobody_reloads)
    await server.start(listener)
    try:
        async with aiohttp.ClientSession() as client:
            yield RunningProxy(setup, f"http://127.0.0.1:{port}", client, port, server)
    finally:
        await server.stop()
