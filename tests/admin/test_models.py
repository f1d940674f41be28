"""Deployments that are added, changed and taken away while the server runs."""

import asyncio
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert, select

from proxy_cli.admin import models
from proxy_cli.admin.seal import SealProblem
from proxy_cli.admin.stored import load
from proxy_cli.errors import Conflict, InvalidRequest, NotFound, Unprocessable
from proxy_cli.secret import Secret
from proxy_cli.store.tables import CHANGES, MODELS, TEAMS
from tests.fakes.proxy import running_proxy
from tests.fakes.spending import office_of, send
from tests.fakes.store import fresh_store

LOCAL = "http://10.0.0.1:8000/v1"
NEW: dict[str, Any] = {
    "model_name": "mine",
    "litellm_params": {"model": "openai/llama", "api_base": LOCAL, "api_key": "sk-canary-1"},
    "model_info": {"id": "m", "mode": "chat"},
}


@pytest.fixture
async def store(tmp_path):
    opened = fresh_store(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
async def office(store):
    return office_of(store, store_model_in_db=True)


async def post(office, path, body, slot=None):
    return await send(office, models.ENDPOINTS, path, msgspec.json.encode(body), slot=slot)


async def new(office, **params):
    """Add the usual model with other parameters."""
    given = {name: value for name, value in {**NEW["litellm_params"], **params}.items() if value is not ...}
    return await post(office, "/model/new", {**NEW, "litellm_params": given})


async def entries(office):
    return (await office.store.read(lambda connection: load(connection, office.seal_secret))).entries


async def test_a_new_model_is_kept_and_told_without_its_key(office):
    """The answer is the row; what other processes read is the whole entry."""
    found = await post(office, "/model/new", NEW)

    assert (found["model_id"], found["model_name"]) == ("m", "mine")
    assert found["litellm_params"] == {"api_base": LOCAL, "model": "openai/llama"}
    assert found["model_info"] == {"id": "m", "mode": "chat", "db_model": True}
    assert "canary" not in str(found)
    (entry,) = await entries(office)
    assert entry.litellm_params.api_key == Secret("sk-canary-1")


async def test_all_processes_learn_of_a_change(office):
    """This one at once, the others by the list of changes."""
    await post(office, "/model/new", NEW)

    assert office.callers.forgotten == [("model", "m")]
    kinds = await office.store.read(lambda connection: connection.execute(select(CHANGES.c.kind, CHANGES.c.id)).all())
    assert [tuple(each) for each in kinds] == [("model", "m")]


async def test_a_model_without_an_id_gets_one(office):
    """Two of them get two."""
    body = {**NEW, "model_info": {}}
    ids = {(await post(office, "/model/new", body))["model_id"] for _ in range(2)}

    assert len(ids) == 2


async def test_an_id_that_is_taken_is_refused(office):
    """Be it in the database or in the file."""
    await post(office, "/model/new", NEW)
    in_file = office.table.deployments[0].id

    for taken in ("m", in_file):
        with pytest.raises(Conflict, match="choose another one"):
            await post(office, "/model/new", {**NEW, "model_info": {"id": taken}})


async def test_without_a_place_to_keep_models_they_are_refused(store):
    """The setting is named."""
    with pytest.raises(InvalidRequest, match="store_model_in_db: true"):
        await post(office_of(store), "/model/new", NEW)


async def test_without_a_key_to_seal_with_nothing_is_kept(store):
    """A secret is never written as it is."""
    office = office_of(store, secret=None, store_model_in_db=True)

    with pytest.raises(SealProblem, match="master_key"):
        await post(office, "/model/new", NEW)
    assert await store.read(lambda connection: connection.execute(select(MODELS)).all()) == []


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"model": "nobody/x", "api_base": ...}, "nobody"),
        ({"model": "hosted_vllm/x", "api_base": ...}, "api_base"),
        ({"api_base": "ftp://somewhere"}, "http or https"),
        ({"rpm": "many"}, "rpm"),
        ({"ssl_certificate": "/etc/passwd"}, "names a file"),
        ({"ssl_keyfile": "/etc/passwd"}, "names a file"),
        ({"ssl_verify": "/etc/passwd"}, "path belongs in the file"),
    ],
)
async def test_what_would_never_answer_or_reads_a_file_is_refused(office, params, words):
    """Before anything is kept, with the setting at fault and without the key."""
    with pytest.raises(Unprocessable, match=words) as caught:
        await new(office, **params)

    assert "canary" not in str(caught.value)
    assert await entries(office) == ()


@pytest.mark.row("A-20")
@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/latest",
        "http://[::ffff:169.254.169.254]",
        "http://0xa9fea9fe",
        "http://169.254.43518",
        "http://0251.0376.0251.0376",
        "http://metadata.google.internal/computeMetadata",
        "http://METADATA.google.internal.",
        "http://[fe80::1]",
        "http://[fd00:ec2::254]",
        "http://0.0.0.0",
        "http://user@10.0.0.1",
        "http://10.0.0.1#@169.254.169.254",
        "http://2852039166",
    ],
)
async def test_addresses_of_metadata_services_are_refused_in_every_spelling(office, address):
    """The admin of a proxy is not the owner of the machine's own credentials."""
    with pytest.raises(Unprocessable):
        await new(office, api_base=address)
    with pytest.raises(Unprocessable):
        await new(office, http_proxy=address)


@pytest.mark.row("A-20")
async def test_a_host_that_the_file_names_may_be_asked(store):
    """Whoever writes the file decides."""
    office = office_of(
        store, store_model_in_db=True, provider_url_destination_allowed_hosts=["169.254.169.254", "metadata:8080"]
    )

    await new(office, api_base="http://169.254.169.254/v1")
    with pytest.raises(Unprocessable):
        await post(
            office, "/model/update", {"model_info": {"id": "m"}, "litellm_params": {"api_base": "http://metadata/v1"}}
        )


async def test_servers_of_ones_own_may_be_added(office):
    """Private addresses and this machine are where they are."""
    for number, address in enumerate((LOCAL, "http://127.0.0.1:8000", "http://localhost:1234/v1", "http://gpu-box")):
        params = {**NEW["litellm_params"], "api_base": address}
        await post(office, "/model/new", {**NEW, "litellm_params": params, "model_info": {"id": str(number)}})

    assert len(await entries(office)) == 4


@pytest.mark.parametrize(
    ("path", "slot", "info"),
    [("/model/update", None, {"id": "m", "note": "x"}), ("/model/{model}/update", "m", {"note": "x"})],
)
async def test_a_change_leaves_the_rest_as_it_was(office, path, slot, info):
    """By either path; null takes a parameter away, and the key is kept."""
    await new(office, rpm=5, temperature=0.5)

    body = {"model_name": "other", "litellm_params": {"rpm": 7, "temperature": None}, "model_info": info}
    found = await post(office, path, body, slot=slot)

    assert found["model_name"] == "other"
    assert found["litellm_params"]["rpm"] == 7
    assert found["model_info"] == {"id": "m", "mode": "chat", "note": "x", "db_model": True}
    (entry,) = await entries(office)
    assert entry.litellm_params.api_key == Secret("sk-canary-1")
    assert entry.litellm_params.body_defaults() == {}


@pytest.mark.row("A-35")
@pytest.mark.parametrize(
    "params",
    [
        {"api_base": "http://evil.example/v1"},
        {"base_url": "http://evil.example/v1", "api_base": None},
        {"api_base": "http://10.0.0.1:9000/v1"},
        {"api_base": None},
        {"model": "groq/llama", "api_base": None},
        {"http_proxy": "http://evil.example:3128"},
    ],
)
async def test_a_key_goes_to_no_place_it_was_not_given_for(office, params):
    """The change is refused as a whole, and says what to send again."""
    await post(office, "/model/new", NEW)

    with pytest.raises(Conflict, match="api_key would go to") as caught:
        await post(office, "/model/update", {"litellm_params": params, "model_info": {"id": "m"}})

    assert caught.value.status == 409
    (entry,) = await entries(office)
    assert entry.litellm_params.base == LOCAL


@pytest.mark.row("A-35")
@pytest.mark.parametrize("key", ["sk-for-the-new-place", None])
async def test_with_the_key_given_again_or_taken_away_the_place_may_change(office, key):
    """The admin has said what goes there."""
    await post(office, "/model/new", NEW)
    params = {"api_base": "http://10.0.0.2:8000/v1", "api_key": key}

    await post(office, "/model/update", {"litellm_params": params, "model_info": {"id": "m"}})

    (entry,) = await entries(office)
    assert entry.litellm_params.base == "http://10.0.0.2:8000/v1"
    assert entry.litellm_params.api_key == (Secret(key) if key else None)


@pytest.mark.row("A-35")
async def test_headers_are_kept_as_keys_are(office):
    """A credential may stand in any of them."""
    await new(office, api_key=..., extra_headers={"authorization": "Bearer canary"})

    with pytest.raises(Conflict, match="extra_headers would go to"):
        await post(
            office, "/model/update", {"litellm_params": {"api_base": "http://evil/v1"}, "model_info": {"id": "m"}}
        )


async def test_another_path_of_the_same_server_is_no_other_place(office):
    """Whoever answers there has the key already."""
    await post(office, "/model/new", NEW)

    params = {"api_base": "http://10.0.0.1:8000/v2", "model": "openai/newer"}
    await post(office, "/model/update", {"litellm_params": params, "model_info": {"id": "m"}})

    (entry,) = await entries(office)
    assert entry.litellm_params.base == "http://10.0.0.1:8000/v2"


async def test_a_deleted_model_is_gone(office):
    """LiteLLM's sentence; the second time there is none."""
    await post(office, "/model/new", NEW)

    assert await post(office, "/model/delete", {"id": "m"}) == {"message": "Model: m deleted successfully"}

    assert await entries(office) == ()
    with pytest.raises(NotFound, match="'m'"):
        await post(office, "/model/delete", {"id": "m"})


async def test_a_blocked_model_is_not_served_until_it_is_unblocked(office):
    """By either name of the id."""
    await post(office, "/model/new", NEW)

    assert (await post(office, "/model/block", {"model_id": "m"}))["blocked"] is True
    assert await entries(office) == ()
    assert (await post(office, "/model/unblock", {"id": "m"}))["blocked"] is False
    assert len(await entries(office)) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/model/update", {"litellm_params": {}}),
        ("/model/delete", {}),
        ("/model/block", {"id": None}),
    ],
)
async def test_which_model_must_be_said(office, path, body):
    """A body without an id is not taken for all of them."""
    with pytest.raises(Unprocessable, match="which model"):
        await post(office, path, body)


@pytest.mark.parametrize("path", ["/model/update", "/model/delete", "/model/block"])
async def test_a_model_of_the_file_is_changed_in_the_file(office, path):
    """Its id is known, and the answer says where it stands."""
    identity = office.table.deployments[0].id

    with pytest.raises(InvalidRequest, match="stands in the configuration file"):
        await post(office, path, {"id": identity, "model_info": {"id": identity}})


@pytest.mark.row("A-24")
@pytest.mark.row("A-21")
async def test_commands_and_names_of_variables_are_texts_like_others(office):
    """Nothing is run, and nothing of this machine is read."""
    await new(office, api_key="os.environ/HOME", command="rm -rf /")

    (entry,) = await entries(office)
    assert entry.litellm_params.api_key == Secret("os.environ/HOME")
    assert entry.litellm_params.body_defaults() == {"command": "rm -rf /"}


MASTER = "sk-0123456789abcdef"
HEADERS = {"authorization": f"Bearer {MASTER}"}
CONFIG = f"""
    model_list:
      - model_name: talks
        litellm_params: {{model: openai/talks, mock_response: hello}}
    general_settings: {{master_key: {MASTER}, store_model_in_db: true}}
"""
SOON_S = 3.0


async def status_of(proxy, model):
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    async with proxy.post("/chat/completions", body, headers=HEADERS) as reply:
        return reply.status


async def soon(proxy, model, status):
    """Whether a model answers so within a moment."""
    async with asyncio.timeout(SOON_S):
        while await status_of(proxy, model) != status:
            await asyncio.sleep(0.05)
    return True


async def test_a_running_proxy_serves_a_model_from_when_it_is_added_to_when_it_is_deleted(tmp_path):
    """Without a restart, and shown as one of the database."""
    body = {
        **NEW,
        "litellm_params": {"model": "openai/x", "mock_response": "from the database", "api_key": "sk-canary"},
    }
    async with running_proxy(CONFIG, keeps=tmp_path / "kept") as proxy:
        async with proxy.post("/model/new", body, headers=HEADERS) as reply:
            assert reply.status == 200
        assert await soon(proxy, "mine", 200)
        async with proxy.get("/model/info?litellm_model_id=m", headers=HEADERS) as reply:
            told = await reply.json()
        async with proxy.post("/model/delete", {"id": "m"}, headers=HEADERS) as reply:
            assert reply.status == 200
        assert await soon(proxy, "mine", 400)

    assert told["data"][0]["model_info"]["db_model"] is True
    assert "canary" not in str(told)


async def test_the_variable_that_litellm_has_for_it_does_the_same(tmp_path):
    """STORE_MODEL_IN_DB, where the file does not say it."""
    config = CONFIG.replace(", store_model_in_db: true", "")
    body = {**NEW, "litellm_params": {"model": "openai/x", "mock_response": "hello"}}
    async with running_proxy(config, {"STORE_MODEL_IN_DB": "True"}, keeps=tmp_path / "kept") as proxy:
        async with proxy.post("/model/new", body, headers=HEADERS) as reply:
            assert reply.status == 200

        assert await soon(proxy, "mine", 200)


async def test_a_model_made_for_a_team_stands_in_its_list(office):
    """A team that may have all keeps them; where there is no such team, no model is made either."""
    await office.store.write(
        lambda connection: connection.execute(
            insert(TEAMS), [{"team_id": "all", "fields": {}}, {"team_id": "few", "fields": {"models": ["gpt-4"]}}]
        )
    )

    for number, team_id in enumerate(("all", "few", "few")):
        await post(office, "/model/new", {**NEW, "model_info": {"id": str(number), "team_id": team_id}})
    with pytest.raises(NotFound):
        await post(office, "/model/new", {**NEW, "model_info": {"id": "none", "team_id": "nowhere"}})
    rows = await office.store.read(
        lambda connection: dict(connection.execute(select(TEAMS.c.team_id, TEAMS.c.fields)).all())
    )

    assert {team_id: fields["models"] for team_id, fields in rows.items()} == {
        "all": ["all-proxy-models", "mine"],
        "few": ["gpt-4", "mine"],
    }
    assert len(await entries(office)) == 3
