"""What a process keeps when its configuration changes."""

from dataclasses import replace

from tests.fakes.proxy import prepared, running_proxy

FIRST = """
model_list:
  - {model_name: a, litellm_params: {model: openai/m, api_base: http://127.0.0.1:9/v1, api_key: k, mock_response: one},
     model_info: {id: kept}}
  - {model_name: b, litellm_params: {model: openai/n, api_base: http://127.0.0.1:9/v1, api_key: k, mock_response: two},
     model_info: {id: gone}}
"""
SECOND = """
model_list:
  - {model_name: a, litellm_params: {model: openai/m, api_base: http://127.0.0.1:9/v1, api_key: k, mock_response: new},
     model_info: {id: kept}}
router_settings: {num_retries: 7}
"""


def chat(model):
    return {"model": model, "messages": [{"role": "user", "content": "Hi"}]}


async def test_what_is_known_of_a_deployment_outlives_a_configuration():
    """By its id; of those that are gone nothing is kept, and new requests go by the new rules."""
    async with running_proxy(FIRST) as proxy:
        for model in "ab":
            async with proxy.post("/v1/chat/completions", chat(model)) as response:
                assert response.status == 200
        fleet = proxy.setup.fleet
        before = {each.id: each for each in fleet.states()}

        proxy.server.take(prepared(SECOND))
        async with proxy.post("/v1/chat/completions", chat("a")) as response:
            assert (await response.json())["choices"][0]["message"]["content"] == "new"
        after = {each.id: each for each in fleet.states()}

    assert set(before) == {"kept", "gone"}
    assert set(after) == {"kept"}
    assert after["kept"] is before["kept"]
    assert fleet.rules.retries == 7


RETRIED = """
model_list:
  - {model_name: a, litellm_params: {model: openai/m, api_base: http://127.0.0.1:9/v1, api_key: k},
     model_info: {id: dead}}
  - {model_name: b, litellm_params: {model: openai/n, api_base: http://127.0.0.1:9/v1, api_key: k, mock_response: two},
     model_info: {id: well}}
router_settings: {fallbacks: [{a: [b]}], num_retries: 1, allowed_fails: 0}
"""


async def test_metrics_tell_what_became_of_calls_over_a_reload():
    """Fallbacks and rests are counted on, whichever configuration has served the call."""
    async with running_proxy(RETRIED) as proxy:
        for _ in range(2):
            async with proxy.post("/v1/chat/completions", chat("a")) as response:
                assert response.headers["x-litellm-attempted-fallbacks"] == "1"
            proxy.server.take(replace(prepared(RETRIED), fleet=proxy.setup.fleet, metrics=proxy.setup.metrics))
        async with proxy.get("/metrics") as response:
            told = (await response.text()).splitlines()

    fallbacks = 'litellm_deployment_successful_fallbacks_total{requested_model="a",fallback_model="b"} 2'
    assert fallbacks in told
    of = '{requested_model="a",model="m",model_id="dead",api_provider="openai",api_base="http://127.0.0.1:9/v1"}'
    assert f"litellm_deployment_state{of} 2" in told
    assert f"litellm_deployment_cooled_down_total{of} 1" in told
    assert 'llmproxy_deployment_in_flight{requested_model="b",model_id="well"} 0' in told
