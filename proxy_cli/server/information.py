"""What the proxy says of itself: the names it knows, what stands behind them, its paths and pages."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import msgspec
from aiohttp import web

from proxy_cli import __version__
from proxy_cli.access.models import may_ask
from proxy_cli.errors import NotFound, Overloaded
from proxy_cli.routing.table import Table
from proxy_cli.server import pages, reply
from proxy_cli.server.drain import Drain
from proxy_cli.server.routes import Routes, Visit
from proxy_cli.shapes import Deployment, Headers, Json, header_text
from proxy_cli.telemetry.exposition import CONTENT_TYPE
from proxy_cli.telemetry.metrics import Metrics

# LiteLLM gives this for every model, and clients have come to compare it.
CREATED: Final = 1677610602
_WITH_STORE: Final = b'{"status":"healthy","db":"connected"}'
_WITHOUT_STORE: Final = b'{"status":"healthy","db":"Not connected"}'
_JSON: Headers = (("content-type", "application/json"),)
_HTML: Headers = (
    ("content-type", "text/html; charset=utf-8"),
    (
        "content-security-policy",
        (
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
            "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        ),
    ),
)


@dataclass(frozen=True, kw_only=True)  # no slots: the document is made once, when it is first asked for
class Information:
    """The routes that answer from what is known, without a backend."""

    table: Table
    routes: Routes
    known: Mapping[str, Mapping[str, Json]]  # deployment id to what the price table knows of it
    needs_key: bool
    metrics: Metrics
    root: str = ""
    redirect: str | None = None  # where `/` leads instead of the page

    async def models(self, visit: Visit) -> web.StreamResponse:
        """The list of names that the caller may ask for; `?only_model_access_groups=true`: of the groups of them."""
        names = [name for name in self.table.names() if self._may_ask(visit, name)]
        if visit.request.query.get("only_model_access_groups", "").lower() == "true":
            names = self._access_groups(names)
        listed = [self._model(name) for name in names]
        return _json({"data": listed, "object": "list"})

    async def model(self, visit: Visit) -> web.StreamResponse:
        """One name, also one that is only reached by a wildcard."""
        name = visit.match.model or ""
        if not self.table.knows(name) or not self._may_ask(visit, name):
            raise NotFound(
                f"the model {name[:100]!r} does not exist here; GET /v1/models lists the names",
                code="model_not_found",
                param="model",
            )
        return _json(self._model(name))

    async def model_info(self, visit: Visit) -> web.StreamResponse:
        """What stands behind each name; `?litellm_model_id=` for one deployment."""
        wanted = visit.request.query.get("litellm_model_id")
        found = [
            each for each in self.table.deployments if wanted in {None, each.id} and self._may_ask(visit, each.group)
        ]
        if wanted and not found:
            raise NotFound(f"no deployment has the id {wanted[:100]!r}; GET /model/info lists them", code="not_found")
        return _json({"data": [self._info(each) for each in found]})

    async def paths(self, _visit: Visit) -> web.StreamResponse:
        """Every path of this server."""
        listed = [
            {"path": each.path_template, "methods": [each.method], "name": each.name, "endpoint": each.name}
            for each in self.routes.all
        ]
        return _json({"routes": listed})

    async def figures(self, _visit: Visit) -> web.StreamResponse:
        """The metrics of all processes."""
        return reply.plain(200, (("content-type", CONTENT_TYPE),), self.metrics.exposition())

    async def test(self, _visit: Visit) -> web.StreamResponse:
        """A route that always answers."""
        return _json({"route": "/test"})

    async def home(self, _visit: Visit) -> web.StreamResponse:
        """The page for people."""
        if self.redirect:
            return reply.plain(307, (("location", header_text(self.redirect)),), b"")
        page = pages.home(self.table.names(), base_url_path=f"{self.root}/v1", needs_key=self.needs_key)
        return reply.plain(200, _HTML, page.encode())

    async def openapi(self, _visit: Visit) -> web.StreamResponse:
        """The OpenAPI document."""
        return reply.plain(200, _JSON, self._document)

    async def docs(self, _visit: Visit) -> web.StreamResponse:
        """The OpenAPI document for people."""
        return reply.plain(200, _HTML, pages.docs(f"{self.root}/openapi.json").encode())

    @cached_property
    def _document(self) -> bytes:
        return msgspec.json.encode(
            pages.openapi(self.routes.all, version=__version__, server_root_path=self.root, needs_key=self.needs_key)
        )

    def _access_groups(self, names: Iterable[str]) -> list[str]:
        found = (each.info.get("access_groups") or () for name in names for each in self.table.group_of(name))
        return sorted({str(group) for groups in found for group in groups})

    def _may_ask(self, visit: Visit, name: str) -> bool:
        caller = visit.record.caller
        return may_ask(caller, name, self.table.words) and self.table.is_open_to(caller, name)

    def _model(self, name: str) -> Json:
        model: dict[str, Json] = {"id": name, "object": "model", "created": CREATED, "owned_by": "openai"}
        for deployment in self.table.group_of(name):
            facts = {**self.known.get(deployment.id, {}), **deployment.info}
            for name in ("mode", "max_input_tokens", "max_output_tokens"):
                if facts.get(name) is not None:
                    model.setdefault(name, facts[name])
        return model

    def _info(self, deployment: Deployment) -> Json:
        # What the entry says of prices is what counts, and so what is shown.
        info = {**self.known.get(deployment.id, {}), **deployment.rates, **deployment.info, "id": deployment.id}
        info.setdefault("db_model", False)
        return {"model_name": deployment.group, "litellm_params": dict(deployment.params), "model_info": info}


def _json(value: Json) -> web.StreamResponse:
    return reply.plain(200, _JSON, msgspec.json.encode(value))


def alive() -> bytes:
    """What a probe is told: the process runs."""
    return b'"I\'m alive!"'


def ready(drain: Drain, has_store: Callable[[], bool]) -> bytes:
    """What a probe is told: whether requests are welcome. Raises Overloaded where they are not.

    They are so without the database, too: whoever is known goes on.
    """
    if not drain.is_ready():
        raise Overloaded("this process is about to end: send requests elsewhere", code="shutting_down")
    return _WITH_STORE if has_store() else _WITHOUT_STORE
