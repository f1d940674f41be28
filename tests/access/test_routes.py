"""Which routes a caller may use: by role, by what the key is for, and by what a route does."""

import pytest

from proxy_cli.access.routes import allowed_routes_of, authorize, matches
from proxy_cli.callers import Caller, Role
from proxy_cli.errors import Forbidden
from proxy_cli.server.routes import Route
from proxy_cli.shapes import Operation

CHAT = Route("POST", "/v1/chat/completions", "inference", "", "models", operation=Operation.CHAT)
MODELS = Route("GET", "/v1/models", "models", "", "information")
INFO = Route("GET", "/key/info", "key_info", "", "keys", "self")
INFOS = Route("POST", "/v2/key/info", "key_infos", "", "keys", "self")
GENERATE = Route("POST", "/key/generate", "key_generate", "", "keys", "self")
HEALTH = Route("GET", "/health", "health", "", "health", "viewer")
RELOAD = Route("POST", "/config/reload", "reload", "", "administration", "admin")
LOGS = Route("GET", "/spend/logs", "spend_logs", "", "spend", "self")
CLOSED = Route("GET", "/routes", "routes", "", "information", "closed")
OPEN = Route("GET", "/docs", "docs", "", "pages", "public")
REPORT = Route("POST", "/global/spend/end_users", "report", "", "spend", "viewer")
EVERY = (CHAT, MODELS, INFO, INFOS, GENERATE, HEALTH, RELOAD, LOGS, CLOSED, OPEN, REPORT)


def may(caller, route):
    """Whether a caller is let in."""
    try:
        authorize(caller, route)
    except Forbidden:
        return False
    return True


@pytest.mark.row("A-16")
@pytest.mark.parametrize(
    ("role", "refused"),
    [
        (Role.ADMIN, {CLOSED}),
        (Role.VIEWER, {CLOSED, CHAT, GENERATE, RELOAD}),
        (Role.USER, {CLOSED, HEALTH, RELOAD, REPORT}),
        (Role.USER_VIEWER, {CLOSED, HEALTH, RELOAD, GENERATE, REPORT}),
        (Role.CUSTOMER, {CLOSED, HEALTH, RELOAD, REPORT}),
    ],
)
def test_a_role_may_use_what_the_table_says(role, refused):
    """Viewers change nothing, the operator's viewer asks no model, and only the operator operates."""
    assert {route for route in EVERY if not may(Caller(role=role), route)} == refused


@pytest.mark.parametrize(
    ("key_type", "allowed"),
    [
        ("llm_api", {CHAT, MODELS}),
        ("management", {INFO, INFOS, GENERATE}),
        ("read_only", {MODELS, INFO, INFOS, LOGS, OPEN}),
        ("default", set(EVERY) - {HEALTH, RELOAD, CLOSED, REPORT}),
    ],
)
def test_a_key_is_for_what_its_type_says(key_type, allowed):
    """A key for models manages nothing, one for managing asks no model, one for reading does neither."""
    caller = Caller(role=Role.USER, allowed_routes=allowed_routes_of(None, key_type))

    assert {route for route in EVERY if may(caller, route)} == allowed


@pytest.mark.parametrize(
    ("listed", "route", "meant"),
    [
        ("/v1/chat/completions", CHAT, True),
        ("/chat/completions", CHAT, False),
        ("/v1/*", CHAT, True),
        ("/v1/*", INFO, False),
        ("LiteLLMRoutes.llm_api_routes", CHAT, True),
        ("spend_tracking_routes", LOGS, True),
        ("public_routes", OPEN, True),
        ("admin_only_routes", RELOAD, True),
        ("no_such_group", CHAT, False),
        ("anthropic_routes", CHAT, False),
        ("", CHAT, False),
    ],
)
def test_a_listed_route_is_a_path_a_beginning_or_a_group(listed, route, meant):
    """Paths match whole, `*` at the end stands for the rest, and what nobody knows means nothing."""
    assert matches(listed, route) is meant


def test_a_list_wins_over_the_type_of_a_key():
    """Who lists routes has said what the key is for."""
    assert allowed_routes_of(["/key/info"], "llm_api") == ("/key/info",)
    assert allowed_routes_of([], "read_only") == ("info_routes",)
    assert allowed_routes_of(None, None) == ()


def test_a_refusal_names_the_route_and_what_the_key_may_do():
    """So that its holder knows whom to ask for what."""
    with pytest.raises(Forbidden, match="limited to /key/info") as caught:
        authorize(Caller(role=Role.ADMIN, allowed_routes=("/key/info",)), CHAT)

    assert caught.value.status == 403
