"""Which routes a caller may use: by role, and by what the key is for.

Pure. Owns the levels of access, the names of groups of routes that a key may be limited to, and which POSTs change
nothing. Rule: a request is judged by the route that it matched, never by a text of its own.
"""

from functools import lru_cache
from typing import Final, Literal, Protocol

from proxy_cli.callers import Caller, Role
from proxy_cli.errors import Forbidden
from proxy_cli.shapes import Operation

# public: anybody. key: any valid key. self: any valid key, the answer is narrowed to what is the caller's own.
# viewer: who may see all. admin: who may change all. closed: nobody, by the configuration.
Access = Literal["public", "key", "self", "viewer", "admin", "closed"]

_VIEWERS: Final = frozenset({Role.VIEWER, Role.USER_VIEWER})
# Asked by POST for the body's sake: whoever may only look may ask.
_READING: Final = frozenset(
    {
        "/v2/key/info",
        "/key/health",
        "/budget/info",
        "/organization/info",
        "/organization/list",
        "/spend/calculate",
        "/tag/info",
        "/utils/token_counter",
    }
)
_MANAGED: Final = frozenset({"keys", "users", "teams", "organizations", "customers", "budgets", "tags", "models"})
_KEY_TYPES: Final = {
    "llm_api": ("llm_api_routes",),
    "management": ("management_routes",),
    "read_only": ("info_routes",),
}
_GROUP_PREFIX: Final = "LiteLLMRoutes."
GROUPS: Final = frozenset(
    {
        "llm_api_routes",
        "openai_routes",
        "anthropic_routes",
        "mapped_pass_through_routes",
        "passthrough_routes_wildcard",
        "mcp_routes",
        "info_routes",
        "management_routes",
        "spend_tracking_routes",
        "global_spend_tracking_routes",
        "public_routes",
        "admin_only_routes",
    }
)


class Path(Protocol):
    """A route, as far as it matters here."""

    def __hash__(self) -> int: ...
    @property
    def method(self) -> str: ...
    @property
    def path_template(self) -> str: ...
    @property
    def tag(self) -> str: ...
    @property
    def access(self) -> Access: ...
    @property
    def operation(self) -> Operation | None: ...


def authorize(caller: Caller, route: Path) -> None:
    """Let a caller use a route, or raise Forbidden."""
    access = route.access
    if caller.allowed_routes and not _is_among(caller.allowed_routes, route):
        raise Forbidden(
            f"this key is not allowed to call this route, {route.path_template}: "
            f"it is limited to {_listed(caller.allowed_routes)}"
        )
    if access == "key" and caller.role is not Role.VIEWER:
        return
    if access == "public":
        return
    if access == "closed":
        raise Forbidden(f"{route.path_template} is not offered here: general_settings.allowed_routes leaves it out")
    if access == "admin" and not caller.is_admin:
        raise Forbidden(
            f"{route.path_template} is for a proxy admin: this key's role is {caller.role.value}, not proxy_admin"
        )
    if access == "viewer" and not caller.sees_all:
        raise Forbidden(
            f"only a proxy_admin or proxy_admin_viewer may use {route.path_template}; "
            f"this key's role is {caller.role.value}"
        )
    if caller.role in _VIEWERS:
        _let_look(caller, route)


def allowed_routes_of(listed: object, key_type: object) -> tuple[str, ...]:
    """What a key is limited to, of its fields `allowed_routes` and `key_type`; empty where it is not."""
    if isinstance(listed, list | tuple) and listed:
        return tuple(str(each) for each in listed)
    return _KEY_TYPES.get(key_type, ()) if isinstance(key_type, str) else ()


def matches(listed: str, route: Path) -> bool:
    """Whether a route is meant by a path, by a path with `*` at its end, or by the name of a group."""
    listed = listed.removeprefix(_GROUP_PREFIX)
    if listed.startswith("/"):
        path = route.path_template
        return path.startswith(listed[:-1]) if listed.endswith("*") else path == listed
    return _is_in_group(listed, route)


def _let_look(caller: Caller, route: Path) -> None:
    """Who may only look changes nothing; and who looks at all for the operator spends nothing."""
    if route.operation is not None:
        if caller.role is Role.VIEWER:
            raise Forbidden("a proxy_admin_viewer may not ask models; use a key of another user")
        return
    if route.access == "self" and route.method != "GET" and route.path_template not in _READING:
        raise Forbidden(f"a {caller.role.value} may change nothing: {route.path_template} is not for this key")


@lru_cache(maxsize=4096)
def _is_among(listed: tuple[str, ...], route: Path) -> bool:
    return any(matches(each, route) for each in listed)


def _is_in_group(name: str, route: Path) -> bool:
    asks_model = route.operation is not None
    match name:
        case "llm_api_routes" | "openai_routes":
            return asks_model or (route.tag == "information" and route.access == "key")
        case "anthropic_routes" | "mapped_pass_through_routes" | "passthrough_routes_wildcard" | "mcp_routes":
            return False  # there are none of these yet
        case "info_routes":
            return not asks_model and _only_tells(route)
        case "management_routes":
            return not asks_model and route.tag in _MANAGED
        case "spend_tracking_routes" | "global_spend_tracking_routes":
            return route.tag == "spend"
        case "public_routes":
            return route.access == "public"
        case "admin_only_routes":
            return route.access == "admin"
    return False


def _only_tells(route: Path) -> bool:
    return route.access in {"key", "self", "public"} and (route.method == "GET" or route.path_template in _READING)


def _listed(routes: tuple[str, ...]) -> str:
    return ", ".join(routes[:5]) + (" and more" if len(routes) > 5 else "")
