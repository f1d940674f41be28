"""Who may use which route: the whole table, asked over HTTP by every role; and paths that only look like others."""

import asyncio
from hashlib import sha256

import pytest
from sqlalchemy import insert

from proxy_cli.access.routes import Access
from proxy_cli.server.admin_routes import joined
from proxy_cli.server.routes import served
from proxy_cli.store.opening import open_store
from proxy_cli.store.settings import FILE_NAME, StoreSettings
from proxy_cli.store.tables import KEYS, USERS
from tests.fakes.proxy import kept_in, running_proxy

MASTER = "sk-master-0123456789"
CONFIG = f"""
    model_list:
      - model_name: m
        litellm_params: {{model: openai/m, api_base: "http://127.0.0.1:9/v1", api_key: k, mock_response: hello}}
    general_settings: {{master_key: {MASTER}}}
"""

# What was looked at and found right: every route but those that ask a model, by who may use it. A new route goes here,
# after a thought about it.
REVIEWED: dict[Access, str] = {
    "public": """
        GET /   GET /docs   GET /openapi.json   GET /routes
        GET /health/liveliness   GET /health/liveness   GET /health/readiness
    """,
    "key": """
        GET /metrics   GET /metrics/   GET /test
        GET /models   GET /models/{model}   GET /openai/models   GET /v1/models   GET /v1/models/{model}
        GET /model/info   GET /v1/model/info   GET /v2/model/info   GET /model_group/info
        GET /utils/supported_openai_params   POST /utils/token_counter
    """,
    "self": """
        POST /key/generate   POST /key/service-account/generate   POST /key/update   POST /key/bulk_update
        POST /key/delete   POST /key/block   POST /key/unblock   POST /key/regenerate   POST /key/{key}/regenerate
        POST /key/{key}/reset_spend   POST /key/health   POST /v2/key/info
        GET /key/info   GET /key/list   GET /key/aliases
        POST /user/new   POST /user/update   POST /user/bulk_update   POST /user/delete
        GET /user/info   GET /user/list   GET /user/get_users   GET /user/available_roles
        POST /team/new   POST /team/update   POST /team/delete   POST /team/block   POST /team/unblock
        POST /team/member_add   POST /team/member_update   POST /team/member_delete   POST /team/bulk_member_add
        POST /team/model/add   POST /team/model/delete
        GET /team/info   GET /team/list   GET /v2/team/list   GET /team/available
        POST /organization/update   PATCH /organization/update   POST /organization/member_add
        POST /organization/member_update   PATCH /organization/member_update
        POST /organization/member_delete   DELETE /organization/member_delete
        GET /organization/info   POST /organization/info   GET /organization/list   POST /organization/list
        GET /tag/list
        GET /spend/logs   GET /spend/logs/ui   GET /spend/logs/ui/{request}   GET /spend/logs/v2
        GET /spend/keys   GET /spend/users   GET /spend/tags   POST /spend/calculate
        GET /user/daily/activity   GET /user/daily/activity/aggregated   GET /team/daily/activity
        GET /tag/daily/activity   GET /organization/daily/activity   GET /customer/daily/activity
        GET /end_user/daily/activity
    """,
    "viewer": """
        GET /health   GET /backends
        POST /budget/info   GET /budget/list   GET /budget/settings   GET /provider/budgets
        GET /customer/info   GET /customer/list   GET /end_user/info   GET /end_user/list   POST /tag/info
        GET /global/activity   GET /global/activity/model   GET /global/all_end_users
        GET /global/spend   GET /global/spend/all_tag_names   POST /global/spend/end_users   GET /global/spend/keys
        GET /global/spend/logs   GET /global/spend/models   GET /global/spend/provider   GET /global/spend/report
        GET /global/spend/tags   GET /global/spend/teams
    """,
    "admin": """
        POST /config/reload   POST /health/test
        POST /backends/{name}/drain   POST /backends/{name}/disable   POST /backends/{name}/resume
        POST /budget/new   POST /budget/update   POST /budget/delete
        POST /customer/new   POST /customer/update   POST /customer/delete   POST /customer/block
        POST /customer/unblock
        POST /end_user/new   POST /end_user/update   POST /end_user/delete   POST /end_user/block
        POST /end_user/unblock
        POST /tag/new   POST /tag/update   POST /tag/delete
        POST /organization/new   POST /organization/delete   DELETE /organization/delete
        POST /model/new   POST /model/update   POST /model/delete   POST /model/block   POST /model/unblock
        PATCH /model/{model}/update
        POST /global/spend/reset
    """,
}
TABLE = joined(served())
# POSTs of the table that change nothing: whoever may only look may ask them.
READING = {"/v2/key/info", "/key/health", "/organization/info", "/organization/list", "/spend/calculate"}
ROLES = {
    "proxy_admin": "sk-key-of-an-admin-0001",
    "proxy_admin_viewer": "sk-key-of-a-viewer-0001",
    "internal_user": "sk-key-of-a-user-000001",
    "internal_user_viewer": "sk-key-of-an-onlooker-1",
}


def reviewed():
    """The table above, as access by method and path."""
    found = {}
    for access, text in REVIEWED.items():
        words = text.split()
        found.update(dict.fromkeys(zip(words[::2], words[1::2], strict=True), access))
    return found


def may(role, route):
    """What the review says of a role; None is a request without a key."""
    access = "key" if route.operation is not None else reviewed()[route.method, route.path_template]
    if access == "public" or role == "proxy_admin":
        return True
    looks_only = role is not None and role.endswith("viewer")
    match access:
        case "admin":
            return False
        case "viewer":
            return role == "proxy_admin_viewer"
        case "self":
            return role is not None and (not looks_only or route.method == "GET" or route.path_template in READING)
    return role is not None and not (route.operation is not None and role == "proxy_admin_viewer")


def path_of(route):
    """A path of a route, with something that is not there in its slot."""
    start, brace, rest = route.path_template.partition("{")
    return f"{start}nothing{rest.partition('}')[2]}" if brace else start


@pytest.fixture
async def proxy(tmp_path):
    """A proxy with a user of each role, and a key for each."""
    kept_in(tmp_path)
    store = open_store(StoreSettings(path=tmp_path / FILE_NAME))

    def fill(connection):
        for role, key in ROLES.items():
            connection.execute(insert(USERS).values(user_id=role, role=role, fields={}))
            digest = sha256(key.encode()).hexdigest()
            connection.execute(insert(KEYS).values(digest=digest, hint="sk-...", user_id=role, fields={}))

    await store.write(fill)
    await store.close()
    async with running_proxy(CONFIG, keeps=tmp_path) as running:
        yield running


async def ask(proxy, method, path, key=None, **headers):
    """The status of an answer and its error's code."""
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    body: dict[str, str] | None = None if method == "GET" else {}
    async with proxy.client.request(method, proxy.origin + path, json=body, headers=headers) as response:
        told = await response.json(content_type=None) if "json" in response.content_type else {}
    error = told.get("error") if isinstance(told, dict) else None
    return response.status, error.get("code") if isinstance(error, dict) else None


async def ask_all(proxy, routes, key):
    """The answers of many routes, some at a time."""
    gate = asyncio.Semaphore(8)

    async def one(route):
        async with gate:
            return await ask(proxy, route.method, path_of(route), key)

    return dict(zip(routes, await asyncio.gather(*map(one, routes)), strict=True))


@pytest.mark.row("A-16")
def test_the_table_is_the_one_that_was_reviewed():
    """No route is added, opened or closed unseen."""
    found = {(each.method, each.path_template): each.access for each in TABLE if each.operation is None}

    assert found == reviewed()
    assert {each.access for each in TABLE if each.operation is not None} == {"key"}


@pytest.mark.row("A-09")
@pytest.mark.row("A-08")
@pytest.mark.parametrize("key", [None, "sk-key-of-nobody-at-all-1", "hello"])
async def test_without_a_good_key_only_public_routes_answer(proxy, key):
    """Whatever is asked for; the refusal is the same everywhere."""
    answers = await ask_all(proxy, TABLE, key)

    wrong = {
        (route.method, route.path_template, answer)
        for route, answer in answers.items()
        if (answer[0] == 200) != may(None, route) or (answer[0] != 200 and answer[0] != 401)
    }
    assert wrong == set()


@pytest.mark.row("A-16")
@pytest.mark.parametrize("role", ROLES)
async def test_a_role_gets_past_the_door_where_the_review_says_so(proxy, role):
    """And else is refused as forbidden; what a route then says of its objects is its own affair."""
    dangerous = {"/global/spend/reset"}
    routes = [each for each in TABLE if each.path_template not in dangerous or role != "proxy_admin"]

    answers = await ask_all(proxy, routes, ROLES[role])

    assert {answer[0] for answer in answers.values()} <= {200, 400, 403, 404, 405, 409, 415, 422, 501}
    refused = {route for route, answer in answers.items() if answer == (403, "forbidden")}
    assert {
        (each.method, each.path_template) for each in routes if not may(role, each) and each not in refused
    } == set()
    if role == "proxy_admin":
        assert refused == set()


@pytest.mark.row("A-12")
@pytest.mark.parametrize(
    "path",
    [
        "/health/../key/generate",
        "//key/generate",
        "/key%2fgenerate",
        "/key/generate%00",
        "/key/generate;x",
        "/KEY/GENERATE",
        "/key/generate.",
        "/key/generate/",
        "/health/readiness/../../key/generate",
    ],
)
async def test_a_path_that_only_looks_like_another_is_none(proxy, path):
    """Nothing is normalised, so no rule is passed by; also with the master key."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {MASTER}\r\nConnection: close\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}".encode())

    answer = await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 404 ")


@pytest.mark.row("A-10")
@pytest.mark.row("A-11")
@pytest.mark.parametrize(
    "host",
    ["localhost:4000/#@x", "a/health?x=", "a,b", "", "a\r\nHost: b"],
    ids=["anchor", "path", "two", "none", "again"],
)
async def test_a_host_that_holds_a_path_changes_no_route(proxy, host):
    """It is refused before anything is decided."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(f"POST /key/generate HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\n{{}}".encode())

    answer = await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.row("A-13")
@pytest.mark.parametrize(
    "header",
    [
        {"X-Original-URL": "/health/readiness"},
        {"X-Rewrite-URL": "/health/readiness"},
        {"X-HTTP-Method-Override": "GET"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-Prefix": "/health"},
    ],
    ids=lambda header: next(iter(header)),
)
async def test_headers_that_name_another_path_are_ignored(proxy, header):
    """The route is what the request line says."""
    assert await ask(proxy, "POST", "/config/reload", None, **header) == (401, "missing_api_key")
    assert await ask(proxy, "POST", "/config/reload", ROLES["internal_user"], **header) == (403, "forbidden")


@pytest.mark.row("A-05")
async def test_a_key_opens_from_every_header_and_from_nowhere_else(proxy):
    """Not from the query, a cookie or Basic; two different ones are refused."""
    key = ROLES["internal_user"]

    for name in ("x-api-key", "api-key", "x-goog-api-key", "x-litellm-api-key", "ocp-apim-subscription-key"):
        assert (await ask(proxy, "GET", "/models", None, **{name: key}))[0] == 200
        assert (await ask(proxy, "GET", "/health", None, **{name: key})) == (403, "forbidden")
    assert (await ask(proxy, "GET", f"/models?key={key}&api_key={key}"))[0] == 401
    assert (await ask(proxy, "GET", "/models", None, cookie=f"token={key}; api_key={key}"))[0] == 401
    assert (await ask(proxy, "GET", "/models", None, authorization=f"Basic {key}"))[0] == 401
    assert await ask(proxy, "GET", "/models", key, **{"x-api-key": MASTER}) == (400, "two_api_keys")
