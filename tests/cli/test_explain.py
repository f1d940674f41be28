"""`llmproxy explain`: from a file alone, from a running proxy, and what is said when neither can tell."""

import asyncio
import json
import socket

import click
import pytest

from proxy_cli.cli.client import ClientOptions
from proxy_cli.cli.explain import Asked, HeaderLine, account_of, read_body, run
from tests.fakes.proxy import prepared, running_proxy

KEY = "sk-0123456789abcdef"
CHAT = {"model": "near", "messages": [{"role": "user", "content": "こんにちは"}]}
CONFIG = f"""
    model_list:
      - model_name: near
        litellm_params: {{model: openai/a, api_base: "http://127.0.0.1:9/v1", api_key: {KEY}}}
        model_info: {{id: first}}
    general_settings: {{master_key: {KEY}}}
"""
FILE = """\
model_list:
  - model_name: near
    litellm_params: {model: openai/a, api_base: "http://127.0.0.1:9/v1"}
"""


def asked(body=CHAT, **more):
    """A request to be explained."""
    return Asked(body=json.dumps(body).encode(), headers=more.pop("headers", {}), **more)


def told(config=CONFIG, *, of=None, **more):
    """The account by a configuration alone."""
    return account_of(prepared(config), of or asked(**more))


def test_an_account_by_a_file_alone_is_as_a_proxy_gives_it():
    """Nothing is known of how deployments stand, so all are candidates; and no key shows."""
    account = told()

    assert account["request"]["url"] == "http://127.0.0.1:9/v1/chat/completions"
    assert [each["state"] for each in account["candidates"]] == ["unknown"]
    assert KEY not in json.dumps(account)


def test_headers_and_the_path_are_the_requests():
    """A header that steers us is read; a path below which a model is named, too."""
    limited = told(headers={"x-litellm-timeout": "7"})
    by_path = told(body={"input": "a"}, path="/engines/near/embeddings?api-version=1")

    assert (limited["timeouts"]["total_s"], limited["timeouts"]["set_by"]) == (7, "request")
    assert by_path["request"]["url"] == "http://127.0.0.1:9/v1/embeddings"


@pytest.mark.parametrize(
    ("of", "status", "words"),
    [
        (asked({"model": "far", "messages": []}), 400, "no model named 'far'"),
        (asked({"model": "near"}), 400, "no 'messages'"),
        (asked(path="/v1/chats"), 404, "/v1/chats"),
        (asked(path="/config/reload"), 400, "/config/reload asks no model"),
        (asked(headers={"x-litellm-timeout": "soon"}), 400, "x-litellm-timeout"),
        (Asked(body=b"", headers={}), 400, "JSON"),
    ],
)
def test_what_is_wrong_with_a_request_is_told(of, status, words):
    """By the sentence that its sender would get."""
    refused = told(of=of)["refused"]

    assert refused["status"] == status
    assert words in refused["message"]


@pytest.mark.parametrize(("model", "code"), [("near", 0), ("far", 1)])
def test_the_command_needs_no_proxy_and_says_by_its_exit_code_what_becomes_of_the_request(command, model, code):
    """With a file and a body in another one, as tables or as JSON."""
    command.write("config.yaml", FILE)
    command.write("body.json", json.dumps({**CHAT, "model": model}))

    shown = command.run("explain", "-c", "config.yaml", "-d", "@body.json", "-H", "x-litellm-timeout: 5")
    as_json = command.run("explain", "--config", "config.yaml", "-d", "@body.json", "--json")

    assert (shown.returncode, as_json.returncode) == (code, code), shown.stderr
    assert json.loads(as_json.stdout)["ok"] is (code == 0)
    assert ("POST http://127.0.0.1:9/v1/chat/completions" in shown.stdout) is (code == 0)
    assert ("model_not_found" in shown.stdout) is (code == 1)


def test_a_file_that_cannot_be_used_is_another_exit_code(tmp_path, capsys):
    """Its problems are told with their places, on standard error."""
    file = tmp_path / "config.yaml"
    file.write_text("model_list: 5\n", "utf-8")

    status = run(asked(), ClientOptions(config=str(file)), {})

    shown = capsys.readouterr()
    assert (status, shown.out) == (2, "")
    assert "config.yaml:1:" in shown.err


async def test_a_running_proxy_is_asked_by_the_header(capsys):
    """It knows how its deployments stand; the body goes to it as it is."""
    async with running_proxy(CONFIG) as proxy:
        options = ClientOptions(url=proxy.origin, key=KEY, json=True)
        status = await asyncio.to_thread(run, asked(), options, {})
        account = json.loads(capsys.readouterr().out)
        refused = await asyncio.to_thread(run, Asked(body=b"{", headers={}), options, {})

    assert (status, refused) == (0, 1)
    assert (account["ok"], account["request"]["id"]) == (True, "first")
    assert json.loads(capsys.readouterr().out)["refused"]["code"] == "invalid_json"


@pytest.mark.parametrize("as_json", [False, True])
async def test_a_wrong_key_is_one_sentence(capsys, as_json):
    """Exit code 1; what the proxy says, and which option is about it."""
    async with running_proxy(CONFIG) as proxy:
        options = ClientOptions(url=proxy.origin, key="sk-wrong-0123456789", json=as_json)
        status = await asyncio.to_thread(run, asked(), options, {})

    shown = capsys.readouterr()
    assert status == 1
    assert "401" in (shown.out if as_json else shown.err)
    assert "sk-wrong-0123456789" not in shown.out + shown.err


def test_an_address_where_nobody_listens_is_one_sentence(capsys):
    """The file is read for its key at most."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    assert run(asked(), ClientOptions(port=port), {}) == 1
    assert "nothing listens" in capsys.readouterr().err


def test_a_header_is_read_as_curl_takes_it():
    """The name in lower case; the value keeps its colons, and is in no sentence."""
    assert HeaderLine().read("X-Team:  a:b ") == ("x-team", "a:b")
    for wrong in ("no colon sk-secret", ": sk-secret", "a b: sk-secret", "a: sk-\nsecret"):
        with pytest.raises(ValueError, match="name:value") as caught:
            HeaderLine().read(wrong)
        assert "secret" not in str(caught.value)


def test_a_body_is_itself_or_a_file(tmp_path):
    """A file that is not there is a sentence with its name."""
    (tmp_path / "body.json").write_bytes(b"{}")

    assert read_body('{"a": 1}') == b'{"a": 1}'
    assert read_body(f"@{tmp_path / 'body.json'}") == b"{}"
    with pytest.raises(click.UsageError, match=r"missing\.json"):
        read_body("@missing.json")
