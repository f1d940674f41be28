"""What a process keeps when its configuration changes."""

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
