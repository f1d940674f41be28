"""The table of every path, and which of them anyone may call.

A request is authorised on the route it matched, never on a string: fixed segments match byte for byte, the part that
stands for a model is decoded once and may hold slashes, but no `..`. A path that is not here is a 404.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote_to_bytes

from aiohttp import web

from proxy_cli.access.routes import Access, matches
from proxy_cli.errors import GatewayError, InvalidRequest, MethodNotAllowed, NotFound
from proxy_cli.server.reply import Lines, Outlet
from proxy_cli.shapes import Headers, Operation, Record

_OPERATORS: Final = frozenset({"health", "administration"})
_NAMES: Final = frozenset({"models", "model"})
_PROBES: Final = frozenset({"alive", "ready"})
_METHODS: Final = ("POST", "GET", "HEAD", "PUT", "PATCH", "DELETE")
_SLOT: Final = "{model}"
_SLOTS: Final = re.compile(r"\{[a-z]+\}")


@dataclass(frozen=True, slots=True)
class Route:
    """One path and method; `name` says which function of the counter answers it."""

    method: str
    path_template: str
    name: str
    summary: str
    tag: str
    access: Access = "key"
    operation: Operation | None = None

    @property
    def public(self) -> bool:
        """Whether it is answered without a key."""
        return self.access == "public"

    @property
    def reserved(self) -> bool:
        """Whether an operator must get in here also when all places are taken."""
        return self.tag in _OPERATORS

    @property
    def is_for_everybody(self) -> bool:
        """Whether it is answered to callers of models also where operators have an address of their own."""
        return self.operation is not None or self.is_probe or self.name in _NAMES

    @property
    def is_probe(self) -> bool:
        """Whether it is asked by somebody who ends us over a late answer: it takes no place and waits for none."""
        return self.name in _PROBES


@dataclass(frozen=True, slots=True)
class Match:
    """A route and what the name in its path was, mostly a model's."""

    route: Route
    model: str | None = None


_SUMMARIES: Final = {
    Operation.CHAT: "Answer a conversation, whole or as a stream",
    Operation.COMPLETIONS: "Complete a prompt, whole or as a stream",
    Operation.EMBEDDINGS: "Turn texts into vectors",
    Operation.MODERATIONS: "Judge whether a text is harmful",
    Operation.IMAGE_GENERATIONS: "Make images from a text",
    Operation.IMAGE_EDITS: "Change an image (multipart)",
    Operation.IMAGE_VARIATIONS: "Vary an image (multipart)",
    Operation.SPEECH: "Speak a text",
    Operation.TRANSCRIPTIONS: "Write down speech (multipart)",
    Operation.TRANSLATIONS: "Write down speech in English (multipart)",
    Operation.RERANK: "Sort documents by how well they fit a query",
    Operation.RESPONSES: "Answer in the Responses dialect, whole or as a stream",
}


def _inference() -> Iterable[Route]:
    for operation, summary in _SUMMARIES.items():
        prefixes = ["", "/v1", f"/openai/deployments/{_SLOT}", f"/engines/{_SLOT}", f"/v1/engines/{_SLOT}"]
        if operation is Operation.RERANK:
            prefixes.append("/v2")
        if operation is Operation.RESPONSES:
            prefixes += ["/openai", "/openai/v1"]
        for prefix in prefixes:
            yield Route("POST", f"{prefix}/{operation}", "inference", summary, "models", operation=operation)


def _both(path: str, name: str, summary: str, tag: str) -> tuple[Route, Route]:
    return Route("GET", path, name, summary, tag), Route("GET", f"/v1{path}", name, summary, tag)


ROUTES: Final[tuple[Route, ...]] = (
    *_inference(),
    *_both("/models", "models", "List the names that can be asked for", "information"),
    Route("GET", "/openai/models", "models", "The same, where the OpenAI SDK for Azure asks for it", "information"),
    *_both(f"/models/{_SLOT}", "model", "One of these names", "information"),
    *_both("/model/info", "model_info", "What stands behind each name, without secrets", "information"),
    Route("GET", "/routes", "routes", "Every path of this server", "information", "public"),
    Route("GET", "/health", "health", "How every deployment stands, from what is known", "health", "viewer"),
    Route("POST", "/health/test", "health_test", "Ask every deployment for something small", "health", "admin"),
    Route("GET", "/health/liveliness", "alive", "Whether the process runs", "health", "public"),
    Route("GET", "/health/liveness", "alive", "Whether the process runs", "health", "public"),
    Route("GET", "/health/readiness", "ready", "Whether requests are welcome", "health", "public"),
    Route("POST", "/config/reload", "reload", "Take the changed configuration into use", "administration", "admin"),
    Route("GET", "/backends", "backends", "Every deployment and what it is at", "administration", "viewer"),
    Route("POST", "/backends/{name}/drain", "drain", "Give a backend no more work", "administration", "admin"),
    Route("POST", "/backends/{name}/disable", "disable", "Take a backend out of use", "administration", "admin"),
    Route("POST", "/backends/{name}/resume", "resume", "Use a backend again", "administration", "admin"),
    Route("GET", "/metrics", "metrics", "Figures of all processes, for Prometheus", "health"),
    Route("GET", "/metrics/", "metrics", "The same, where LiteLLM has it", "health"),
    Route("GET", "/test", "test", "A route that always answers", "health"),
    Route("GET", "/", "home", "What this is and how to call it", "pages", "public"),
    Route("GET", "/docs", "docs", "This document, for people", "pages", "public"),
    Route("GET", "/openapi.json", "openapi", "This document", "pages", "public"),
)


def served(
    *, docs_path: str | None = "/docs", openapi: bool = True, metrics_need_key: bool = True
) -> tuple[Route, ...]:
    """The table as the settings want it: the docs page elsewhere or nowhere, the document shown or not."""
    changed: dict[str, Access] = {} if metrics_need_key else {"metrics": "public"}
    hidden = {"docs"} if docs_path is None or not openapi else set()
    if not openapi:
        hidden.add("openapi")
        changed["routes"] = "key"  # it tells the paths that the document would
    table = (replace(route, access=changed.get(route.name, route.access)) for route in ROUTES)
    return tuple(
        replace(route, path_template=docs_path) if route.name == "docs" and docs_path else route
        for route in table
        if route.name not in hidden
    )


def governed(
    table: Iterable[Route],
    *,
    public: Sequence[str] = (),
    admin_only: Sequence[str] = (),
    allowed: Sequence[str] = (),
) -> tuple[Route, ...]:
    """The table with access as the settings have it; each names paths, beginnings with `*`, or groups of routes.

    What is for the admin only wins over what is public, and what is not among the allowed is closed, but for probes.
    """
    return tuple(_governed(route, public, admin_only, allowed) for route in table)


def _governed(route: Route, public: Sequence[str], admin_only: Sequence[str], allowed: Sequence[str]) -> Route:
    if route.is_probe:
        return route
    if allowed and not any(matches(each, route) for each in allowed):
        return replace(route, access="closed")
    if any(matches(each, route) for each in admin_only):
        return replace(route, access="admin")
    if any(matches(each, route) for each in public):
        return replace(route, access="public")
    return route


def meaningless(listed: Sequence[str], table: Sequence[Route]) -> tuple[str, ...]:
    """Those of the listed paths and groups that mean no route at all."""
    return tuple(each for each in listed if not any(matches(each, route) for route in table))


class Routes:
    """The table made ready for matching. `root` is a prefix under which a reverse proxy may show us."""

    def __init__(self, routes: Sequence[Route] = ROUTES, *, root: str = "") -> None:
        self.all = tuple(routes)
        self._root = root.rstrip("/")
        self._fixed: dict[str, dict[str, Route]] = {}
        self._open: list[tuple[str, str, dict[str, Route]]] = []
        for route in self.all:
            self._methods(route)[route.method] = route
        # The longest frame first: `/models/{model}` must not take what a more exact one means.
        self._open.sort(key=lambda entry: -len(entry[0]) - len(entry[1]))

    def match(self, method: str, raw_path: str) -> Match:
        """The route for a method and a path as it was sent (no query). Raises NotFound or MethodNotAllowed."""
        path = raw_path
        if self._root and path.startswith(self._root) and path[len(self._root) :][:1] in {"", "/"}:
            path = path[len(self._root) :] or "/"
        if methods := self._fixed.get(path):
            return Match(_choose(methods, method, path))
        for head, tail, methods in self._open:
            if path.startswith(head) and path.endswith(tail) and len(path) > len(head) + len(tail):
                slot = path[len(head) : len(path) - len(tail)]
                return Match(_choose(methods, method, path), _model_of(slot))
        raise _no_such_path(path)

    def hot(self, target: str) -> Match | None:
        """The route of a target that asks a model by POST and has nothing in it to be worked out; else None."""
        methods = self._fixed.get(target)
        route = methods.get("POST") if methods else None
        return Match(route) if route is not None and route.operation is not None else None

    def probe(self, target: str) -> Match | None:
        """The route of a target that a probe asks by GET and that has nothing in it to be worked out; else None."""
        methods = self._fixed.get(target)
        route = methods.get("GET") if methods else None
        return Match(route) if route is not None and route.is_probe else None

    def methods_of(self, raw_path: str) -> tuple[str, ...]:
        """The methods a path takes, for OPTIONS; empty when there is no such path."""
        found: list[str] = []
        for method in _METHODS:
            try:
                self.match(method, raw_path)
            except (NotFound, InvalidRequest):
                return ()
            except MethodNotAllowed:
                continue
            found.append(method)
        return (*found, "OPTIONS") if found else ()

    def _methods(self, route: Route) -> dict[str, Route]:
        slot = _SLOTS.search(route.path_template)
        if slot is None:
            return self._fixed.setdefault(route.path_template, {})
        head, tail = route.path_template[: slot.start()], route.path_template[slot.end() :]
        for known_head, known_tail, methods in self._open:
            if (known_head, known_tail) == (head, tail):
                return methods
        methods = {}
        self._open.append((head, tail, methods))
        return methods


def _choose(methods: dict[str, Route], method: str, path: str) -> Route:
    # A HEAD is a GET whose body is not sent; the server underneath leaves the body out.
    if route := methods.get("GET" if method == "HEAD" else method):
        return route
    allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"])
    raise MethodNotAllowed(f"{path} does not take {method[:16]}; it takes {allowed}", headers=(("allow", allowed),))


def _model_of(slot: str) -> str:
    try:
        name = unquote_to_bytes(slot).decode()
    except UnicodeDecodeError:
        raise _bad_slot("is not UTF-8") from None
    if any(part in {"", ".", ".."} for part in name.split("/")):
        raise _bad_slot("has an empty, `.` or `..` part")
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        raise _bad_slot("holds a control character")
    return name


def _bad_slot(what: str) -> GatewayError:
    return NotFound(f"the name in the path {what}; take one from the list of names", param="model")


def _no_such_path(path: str) -> NotFound:
    shown = path if len(path) <= 100 else f"{path[:100]}…"
    if path.startswith("/v1/v1/"):
        return NotFound(f"there is no path {shown!r}; the client's base URL has one /v1 too many")
    if "//" in path:
        return NotFound(f"there is no path {shown!r}; it has two slashes in a row")
    if path.endswith("/"):
        return NotFound(f"there is no path {shown!r}; ask for it without the slash at its end")
    return NotFound(f"there is no path {shown!r}; GET /routes lists what there is")


@dataclass(frozen=True, slots=True)
class Visit:
    """One request that aiohttp has read, as a route's function is given it."""

    request: web.BaseRequest
    headers: Headers  # the caller's
    match: Match
    record: Record
    own_headers: Lines  # go on every response, streamed ones too
    outlet: Outlet[web.StreamResponse]


Answer = Callable[[Visit], Awaitable[web.StreamResponse]]
Word = Callable[[], bytes]  # what a probe is told, as JSON; raises the GatewayError of another status
