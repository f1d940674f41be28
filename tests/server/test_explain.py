"""A dry run over HTTP: what it says, to whom, and that it is what serves."""

import json
import time
from random import Random

import aiohttp
import pytest

from proxy_cli.callers import ANYONE, Caller, Role
from proxy_cli.cli.explain import Asked, account_of
from proxy_cli.errors import BackendError, Forbidden
from proxy_cli.routing.fleet import Operator
from proxy_cli.routing.queue import Places
from proxy_cli.routing.router import Router
from proxy_cli.server.wiring import dry_run_of
from tests.fakes.proxy import prepared, running_proxy

PATH = "/v1/chat/completions"
KEY = "sk-0123456789abcdef"
ASKS = {"x-llmproxy-explain": "1"}
CHAT = {"model": "quick", "messages": [{"role": "user", "content": "こんにちは"}]}


def state_of(setup, name):
    """What is known of a deployment."""
    return next(setup.fleet.state(each) for each in setup.table.deployments if each.id == name)


def config(url):
    """Two servers behind one name, another name to fall back on, one that a mock answers, and a wildcard."""
    return f"""
    model_list:
      - model_name: fast
        litellm_params: {{model: openai/gpt-a, api_base: "{url}", api_key: sk-secret-of-backend, order: 1, timeout: 30}}
        model_info: {{id: first}}
      - model_name: fast
        litellm_params: {{model: openai/gpt-b, api_base: "{url}", api_key: sk-secret-of-backend, order: 2}}
        model_info: {{id: second}}
      - model_name: narrow
        litellm_params: {{model: openai/gpt-n, api_base: "{url}", max_parallel_requests: 1, rpm: 5}}
        model_info: {{id: third}}
      - model_name: talks
        litellm_params: {{model: openai/talks, mock_response: hello}}
      - model_name: "wild/*"
        litellm_params: {{model: "openai/*", api_base: "{url}"}}
    router_settings:
      model_group_alias: {{quick: fast}}
      fallbacks: [{{quick: [talks]}}, {{narrow: [talks]}}]
    """


@pytest.fixture
async def proxy(backend):
    """A proxy without a master key before our mock backend."""
    async with running_proxy(config(backend.url)) as running:
        yield running


async def asked(proxy, body=CHAT, path=PATH, **headers):
    """The account of a request."""
    async with proxy.post(path, body, headers={**ASKS, **headers}) as reply:
        assert reply.headers["content-type"] == "application/json"
        assert reply.status == 200
        return await reply.json()


async def test_an_account_tells_the_way_of_a_request_and_sends_nothing(proxy, backend):
    """The name, who is asked and who next, what follows, and what would be sent; the backend hears nothing."""
    told = await asked(proxy)

    assert told["refused"] is None
    assert told["resolution"]["words"] == "quick is an alias of fast; the name is that of a model_name"
    assert [(each["id"], each["kept"], each["order"]) for each in told["candidates"]] == [
        ("first", True, 1),
        ("second", True, 2),
    ]
    assert [each["model"] for each in told["fallbacks"]["any"]] == ["talks"]
    assert (told["timeouts"]["total_s"], told["timeouts"]["set_by"]) == (30, "configuration")
    assert told["request"]["url"] == f"{backend.url}/chat/completions"
    assert told["request"]["body"]["changes"] == [
        {"field": "model", "change": "changed", "before": '"quick"', "after": '"gpt-a"'}
    ]
    assert [each for each in backend.requests if "chat" in each.path] == []
    assert proxy.setup.fleet.state(proxy.setup.table.by_id("first")).begun_s == 0.0


async def test_no_secret_is_in_an_account(proxy):
    """Not the backend's key, whose header is shown masked, nor one that the caller has written into his body."""
    async with proxy.post(PATH, {**CHAT, "user": "sk-secret-of-backend"}, headers=ASKS) as reply:
        text = await reply.text()

    assert "sk-secret-of-backend" not in text
    assert '"authorization":"Bearer ***"' in text


async def test_a_stream_is_explained_as_a_whole_answer(proxy):
    """With the field that is added to have its usage counted."""
    told = await asked(proxy, {**CHAT, "stream": True})

    assert told["requested"]["stream"] is True
    assert "stream_options" in [each["field"] for each in told["request"]["body"]["changes"]]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "quick"}, 400, "invalid_request"),
        ({**CHAT, "model": "nobody"}, 400, "model_not_found"),
        ({**CHAT, "api_base": "http://elsewhere"}, 400, None),
        ({**CHAT, "timeout": "soon"}, 400, None),
    ],
)
async def test_a_refusal_is_part_of_the_account(proxy, body, status, code, chunked):
    """The same one that the request gets without the header, on both ways in."""
    # A body in chunks is read by the other way in.
    more = {"chunked": True} if chunked else {}
    async with proxy.post(PATH, body, headers=ASKS, **more) as reply:
        told = (await reply.json())["refused"]
        assert reply.status == 200
    async with proxy.post(PATH, body, **more) as reply:
        error = (await reply.json())["error"]
        served = reply.status

    assert (told["status"], told["code"], told["message"]) == (served, error["code"], error["message"])
    assert status == served
    assert code in {None, told["code"]}


async def test_a_body_that_is_no_json_is_refused_in_the_account(proxy):
    """Nothing but the refusal is known of it."""
    async with proxy.client.post(proxy.origin + PATH, data=b'{"model"', headers=ASKS) as reply:
        told = await reply.json()

    assert (told["refused"]["code"], told["requested"], told["candidates"]) == ("invalid_json", None, [])


async def test_a_form_is_explained_too(proxy):
    """Its model is found and named; the rest passes through as it comes."""
    form = aiohttp.FormData({"model": "wild/whisper"})
    form.add_field("file", b"sound", filename="a.wav")
    async with proxy.client.post(f"{proxy.origin}/v1/audio/transcriptions", data=form, headers=ASKS) as reply:
        told = await reply.json()

    assert told["resolution"]["words"] == "the name matches a wildcard: wild/*"
    assert told["request"]["body"]["changes"][0]["after"] == '"whisper"'


async def test_a_path_that_names_the_model_wins_over_the_body(proxy):
    """Both names are told."""
    told = await asked(proxy, path="/openai/deployments/talks/chat/completions")

    assert (told["requested"]["model"], told["requested"]["in_body"]) == ("talks", "quick")
    assert (told["request"]["url"], told["request"]["answered_with_status"]) == (None, 200)


async def test_without_the_header_or_with_a_no_the_request_is_sent(proxy):
    """`0` is a no."""
    async with proxy.post(PATH, CHAT, headers={"x-llmproxy-explain": "0"}) as reply:
        assert (await reply.json())["object"] == "chat.completion"


async def test_a_key_is_needed_where_a_proxy_has_one(backend):
    """The master key's holder is an administrator; without a key nothing is told."""
    with_key = config(backend.url) + f"\n    general_settings: {{master_key: {KEY}}}\n"
    async with running_proxy(with_key) as proxy:
        told = await asked(proxy, authorization=f"Bearer {KEY}")
        async with proxy.post(PATH, CHAT, headers=ASKS) as reply:
            refused = reply.status

    assert told["request"]["id"] == "first"
    assert refused == 401


def account(setup, model, **fields):
    """The account of a chat by a configuration and its fleet, without a server."""
    return account_of(setup, Asked(body=json.dumps({**CHAT, "model": model, **fields}).encode(), headers={}))


def test_a_deployment_that_rests_is_dropped_and_the_reason_told():
    """The other one is asked."""
    setup = prepared(config("http://127.0.0.1:9/v1"))
    first = state_of(setup, "first")
    for _ in range(5):
        first.failed(BackendError(500, "it broke"))

    told = account(setup, "fast")

    assert [(each["id"], each["kept"], each["state"]) for each in told["candidates"]] == [
        ("second", True, "unknown"),
        ("first", False, "resting"),
    ]
    assert "it rests for" in told["candidates"][1]["why"]
    assert told["request"]["id"] == "second"


def test_where_operators_have_taken_all_out_the_candidates_say_so():
    """A name without fallbacks is refused, one with some goes to them, as it is served."""
    setup = prepared(config("http://127.0.0.1:9/v1"))
    for name in ("first", "second", "third"):
        setup.fleet.set_operator(name, Operator.DISABLED, None)

    refused, elsewhere = account(setup, "fast"), account(setup, "narrow")

    assert (refused["refused"]["status"], refused["refused"]["code"]) == (503, "all_deployments_out_of_service")
    assert [each["kept"] for each in refused["candidates"]] == [False, False]
    assert "by hand" in refused["candidates"][0]["why"]
    assert refused["request"] is None
    assert elsewhere["refused"] is None
    assert [each["model"] for each in elsewhere["passed_over"]] == ["narrow"]
    assert (elsewhere["request"]["for"], elsewhere["request"]["address"]) == ("talks", "mock_response")


def test_limits_tell_what_is_in_use_and_a_full_one_is_waited_for():
    """With the longest wait; what has no limit has none."""
    setup = prepared(config("http://127.0.0.1:9/v1"))
    state_of(setup, "third").begin()

    told = account(setup, "narrow")

    assert told["limits"] == [
        {
            "id": "third",
            "in_flight": 1,
            "waiting": 0,
            "limits": [
                {"name": "max_parallel_requests", "limit": 1, "in_use": 1, "free": 0},
                {"name": "rpm", "limit": 5, "in_use": 1, "free": 4},
            ],
        }
    ]
    assert told["request"]["waits"] is True
    assert told["timeouts"]["queue_s"] == setup.rules.max_wait_s
    assert account(setup, "fast")["timeouts"]["queue_s"] is None


def test_where_calls_do_not_wait_a_full_name_is_passed_over():
    """Or refused, where nothing stands in for it."""
    setup = prepared(config("http://127.0.0.1:9/v1") + "\n    general_settings: {queue: off}\n")
    state_of(setup, "third").begin()

    told, alone = account(setup, "narrow"), account(setup, "narrow", disable_fallbacks=True)

    assert told["request"]["for"] == "talks"
    assert (alone["refused"]["status"], alone["refused"]["code"]) == (429, "deployment_full")


@pytest.mark.parametrize("strategy", ["simple-shuffle", "least-busy", "power-of-two", "latency-based-routing"])
def test_the_first_candidate_is_the_one_that_is_asked(strategy):
    """Whatever chance says: the order that is shown is the order by which the request is told."""
    entry = "- model_name: a\n        litellm_params: {{model: openai/{0}, api_base: 'http://127.0.0.1:9/v1'}}"
    entries = "\n      ".join(entry.format(number) for number in range(6))
    setup = prepared(
        f"""
    model_list:
      {entries}
    router_settings: {{routing_strategy: {strategy}}}
    """
    )

    for _ in range(10):
        told = account(setup, "a")
        assert told["candidates"][0]["id"] == told["request"]["id"]


def test_a_mock_that_fails_is_passed_over_as_it_is_served():
    """What a deployment answers without a backend is known beforehand."""
    setup = prepared(
        """
    model_list:
      - {model_name: fails, litellm_params: {model: openai/a, mock_response: litellm.InternalServerError}}
      - {model_name: talks, litellm_params: {model: openai/b, mock_response: hello}}
    router_settings: {fallbacks: [{fails: [talks]}]}
    """
    )

    told, alone = account(setup, "fails"), account(setup, "fails", disable_fallbacks=True)

    assert [each["model"] for each in told["passed_over"]] == ["fails"]
    assert told["request"]["for"] == "talks"
    assert alone["refused"]["status"] == 500


def test_a_spent_budget_refuses_and_the_way_is_told_nevertheless():
    """The candidates are known, the request is not made."""
    setup = prepared(config("http://127.0.0.1:9/v1") + "\n    litellm_settings: {max_budget: 0.5}\n")
    setup.budget.add(1.0)

    told = account(setup, "fast")

    assert told["refused"]["code"] == "422"
    assert len(told["candidates"]) == 2
    assert told["request"] is None


def test_a_field_that_the_target_does_not_take_is_refused():
    """By the provider's own words."""
    setup = prepared(
        """
    model_list:
      - {model_name: a, litellm_params: {model: openai/o1, api_key: x, drop_params: false}}
    """
    )

    told = account(setup, "a", temperature=0.5)

    assert (told["refused"]["code"], told["refused"]["param"]) == ("unsupported_parameter", "temperature")
    assert told["candidates"][0]["kept"] is True


def test_who_is_no_administrator_is_told_nothing():
    """By the role of who asks."""
    setup = prepared(config("http://127.0.0.1:9/v1"))
    places = Places(setup.fleet, setup.rules, clock=time.monotonic)
    router = Router(setup.table, setup.fleet, setup.rules, random=Random(1), clock=time.monotonic, active=lambda: 0)
    told = dry_run_of(setup, router, places, lambda _: True)

    told.admit(ANYONE)
    with pytest.raises(Forbidden, match="only an administrator"):
        told.admit(Caller(role=Role.USER))
