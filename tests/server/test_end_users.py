"""For whom a request is made: limits and places that hold for him, over HTTP."""

from tests.fakes.backend import running_backend
from tests.server.test_keeping import put_in
from tests.server.test_money import house


async def test_calls_for_an_end_user_stay_in_his_region(tmp_path):
    """A prompt that may not leave a region is sent nowhere else, and is not counted."""
    async with running_backend() as backend, house(tmp_path, backend) as proxy:
        assert (await proxy.post("/customer/new", user_id="anne", allowed_model_region="eu"))[0] == 200
        key = await proxy.key()
        of_anne, refusal = await proxy.ask(key, user="anne")
        of_bert, _ = await proxy.ask(key, user="bert")
        rows = await put_in(proxy, 1)

    assert (of_anne, refusal["error"]["code"], of_bert) == (400, "region_not_available", 200)
    assert [each["end_user"] for each in rows] == ["bert"]


async def test_an_end_user_is_named_by_a_header_of_the_settings(tmp_path):
    """As a chat page in front sends it."""
    general = "user_header_mappings: [{header_name: X-Page-User, litellm_user_role: customer}]"
    async with running_backend() as backend, house(tmp_path, backend, general) as proxy:
        key = await proxy.key()
        headers = {"authorization": f"Bearer {key}", "x-page-user": "carl"}
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        async with proxy.proxy.post("/v1/chat/completions", body, headers=headers) as response:
            assert response.status == 200
        (row,) = await put_in(proxy, 1)

    assert row["end_user"] == "carl"
