"""The endpoints for operators over HTTP."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import unused_port

from proxy_cli.admin.table import ENDPOINTS
from proxy_cli.errors import GatewayError
from proxy_cli.secret import Scrubber
from proxy_cli.server.admin_routes import AdminRoutes, NoStore, joined, name_of, routes_of
from proxy_cli.server.counter import lower_case, path_of
from proxy_cli.server.problems import Problems
from proxy_cli.server.reply import AiohttpOutlet
from proxy_cli.server.routes import ROUTES, Routes, Visit
from proxy_cli.shapes import Record
from tests.fakes.office import office_over
from tests.fakes.proxy import running_proxy
from tests.fakes.store import fresh_store


@asynccontextmanager
async def serving(routes: AdminRoutes) -> AsyncIterator[aiohttp.ClientSession]:
    """The routes on a real socket; whoever calls is a proxy_admin."""
    table, answers = Routes(joined(ROUTES)), routes.answers()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        record = Record(request_id="r", route=path_of(request.raw_path), method=request.method, started_s=0.0)
        try:
            match = table.match(request.method, record.route)
            visit = Visit(request, lower_case(request.headers), match, record, "", AiohttpOutlet(request))
            return await answers[match.route.name](visit)
        except GatewayError as error:
            return web.json_response(routes.problems.envelope(error), status=error.status)

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    port = unused_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        yield session
    await runner.cleanup()


@pytest_asyncio.fixture
async def session(tmp_path) -> AsyncIterator[aiohttp.ClientSession]:
    """A server over an empty store."""
    store = fresh_store(tmp_path)
    async with serving(AdminRoutes(office=office_over(store), problems=Problems(Scrubber([])))) as running:
        yield running
    await store.close()


async def told(response_of) -> tuple[int, dict[str, Any]]:
    """Status and JSON of a response."""
    async with response_of as response:
        return response.status, await response.json()


async def test_a_key_is_made_and_told_of_over_http(session):
    """Body, query and path reach the endpoint, and its answer comes back as JSON."""
    status, made = await told(session.post("/key/generate", json={"key_alias": "one", "max_budget": 2}))
    _, info = await told(session.get("/key/info", params={"key": made["key"]}))
    _, later = await told(session.post(f"/key/{made['key']}/regenerate", json={}))
    _, listed = await told(session.get("/key/list", params={"key_alias": "one"}))

    assert status == 200
    assert info["info"]["max_budget"] == 2
    assert later["key_alias"] == "one"
    assert listed["keys"] == [later["token"]]


async def test_a_refused_field_is_told_in_our_envelope_and_in_fastapis(session):
    """422, with the field in both."""
    status, body = await told(session.post("/key/generate", json={"max_budget": "much"}))

    assert status == 422
    assert body["error"]["param"] == "max_budget"
    assert body["detail"] == [{"type": "value_error", "loc": ["body", "max_budget"], "msg": body["error"]["message"]}]
    assert "much" not in body["error"]["message"]


@pytest.mark.row("A-02")
@pytest.mark.parametrize(
    "query", ["page=x", "page=0", "size=1000", "sort_by=token;drop", "key_alias=%00", "page=1&page=2"]
)
async def test_a_query_that_is_none_is_refused(session, query):
    """Never with an internal error."""
    status, body = await told(session.get(f"/key/list?{query}"))

    assert status == 422
    assert body["detail"][0]["loc"][0] == "query"


@pytest.mark.parametrize("data", [b"{", b"[]", b"\xff", b'{"metadata": "\\ud800"}'])
async def test_a_body_that_is_no_object_is_refused(session, data):
    """With 422."""
    status, _ = await told(session.post("/key/generate", data=data, headers={"content-type": "application/json"}))

    assert status == 422


async def test_an_empty_body_is_one_without_fields(session):
    """Clients call endpoints whose fields are all optional with nothing."""
    async with session.post("/key/generate") as response:
        assert response.status == 200


async def test_a_large_body_is_refused(session):
    """Before it is read."""
    status, _ = await told(session.post("/key/generate", data=io.BytesIO(b" " * 1_100_000)))

    assert status == 413


@pytest.mark.row("A-31")
@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"])
async def test_what_a_foreign_web_page_can_send_changes_nothing(session, kind):
    """Forms and plain texts are not read, whatever is in them."""
    status, _ = await told(session.post("/key/generate", data=b"{}", headers={"content-type": kind}))

    assert status == 415


async def test_fields_without_effect_are_named_in_a_header(session):
    """Those that are kept and do nothing, and those that nobody knows."""
    body = {"key_alias": "x", "auto_rotate": True, "projct_id": "p", "policies": [], "rpm_limit": 1}

    async with session.post("/key/generate", json=body) as response:
        assert response.headers["x-llmproxy-not-yet-supported"] == "auto_rotate, projct_id"


async def test_several_values_of_one_name_are_a_list(session):
    """As texts are that are parted by commas."""
    status, body = await told(session.get("/key/info?key=a&key=b"))

    assert (status, body["error"]["code"]) == (404, "key_not_found")


async def test_without_a_store_it_is_said_what_is_missing():
    """501 and the settings to set."""
    async with serving(
        AdminRoutes(office=office_over(cast("Any", NoStore())), problems=Problems(Scrubber([])))
    ) as session:
        status, body = await told(session.post("/key/generate", json={}))

    assert (status, body["error"]["code"]) == (501, "no_database")
    assert "database_url" in body["error"]["message"]


def test_every_endpoint_has_a_name_and_a_path_of_its_own():
    """Two of one name would answer each other's questions."""
    assert len({name_of(each) for each in ENDPOINTS}) == len(ENDPOINTS)
    assert len({(each.method, each.path) for each in ENDPOINTS}) == len(ENDPOINTS)


def test_every_path_is_matched_as_it_is_written():
    """With its slot, where it has one."""
    table = Routes(joined(ROUTES))

    for route in routes_of():
        path = route.path_template
        head, brace, rest = path.partition("{")
        match = table.match(route.method, f"{head}some%2Fname{rest.partition('}')[2]}" if brace else path)
        assert (match.route.name, match.model) == (route.name, "some/name" if brace else None)


def test_an_endpoint_takes_the_place_of_a_route_of_the_same_path():
    """There are no two answers to one question."""
    table = joined(ROUTES)

    assert len({(each.method, each.path_template) for each in table}) == len(table)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/model_group/info", None),
        ("/v2/model/info", None),
        ("/utils/supported_openai_params?model=m", None),
        ("/utils/token_counter", {"model": "m", "messages": [{"role": "user", "content": "hi"}]}),
        ("/spend/calculate", {"model": "m", "messages": [{"role": "user", "content": "hi"}]}),
    ],
)
async def test_what_needs_no_store_is_answered_without_one(path, body):
    """By a proxy that keeps nothing at all."""
    params = "{model: openai/gpt-4o, api_key: x, input_cost_per_token: 0.001}"
    async with running_proxy(f"model_list: [{{model_name: m, litellm_params: {params}}}]") as proxy:
        status, answer = await told(proxy.get(path) if body is None else proxy.post(path, body))

    assert status == 200, answer
