"""`llmproxy backend`: what is shown, what is asked of the proxy, and what is said when it cannot be."""

import asyncio
import json
import time

import pytest

from proxy_cli.cli.backend import Span, run
from proxy_cli.cli.client import ClientOptions
from tests.fakes.command import ask as request
from tests.fakes.proxy import running_proxy

PATH = "/v1/chat/completions"
CHAT = {"model": "hello", "messages": [{"role": "user", "content": "hi"}]}
HEARD_S = 0.4  # after this, every process has heard a word
KEY = "sk-0123456789abcdef"
CONFIG = f"""
    model_list:
      - model_name: talks
        litellm_params: {{model: openai/talks, mock_response: hello}}
        model_info: {{id: first}}
      - model_name: near
        litellm_params: {{model: openai/a, api_base: "http://127.0.0.1:9/v1", api_key: x}}
        model_info: {{id: second}}
    general_settings: {{master_key: {KEY}}}
"""


@pytest.fixture
async def ask(capsys):
    """Runs the command against a proxy: its exit code, and what it has written."""
    async with running_proxy(CONFIG) as proxy:

        async def ask(action, name=None, for_s=None, *, key=KEY, as_json=False):
            options = ClientOptions(url=proxy.origin, key=key, json=as_json)
            status = await asyncio.to_thread(run, action, name, for_s, options, {})
            shown = capsys.readouterr()
            return status, shown.out, shown.err

        yield ask


async def test_list_shows_how_each_deployment_stands(ask):
    """Name, server and state of each in a table."""
    status, out, _ = await ask("list")

    assert status == 0
    assert "http://127.0.0.1:9/v1" in out
    assert "talks" in out
    assert "unknown" in out


async def test_drain_and_resume_say_what_comes_of_them(ask):
    """A drained deployment is shown as draining until it is resumed."""
    drained = await ask("drain", "talks")
    shown = json.loads((await ask("list", as_json=True))[1])["backends"]
    resumed = await ask("resume", "first")

    assert drained[:2] == (0, "talks (first) gets no more requests until it is resumed\n")
    assert {each["id"]: each["state"] for each in shown} == {"first": "draining", "second": "unknown"}
    assert resumed[0] == 0
    assert "in use again" in resumed[1]


async def test_a_server_is_disabled_by_its_address_and_for_a_time(ask):
    """The address as it stands in the file, and the time in words."""
    status, out, _ = await ask("disable", "http://127.0.0.1:9/v1", 3600.0)
    told = json.loads((await ask("list", "second", as_json=True))[1])["backends"]

    assert (status, out) == (0, "near (second) gets no more requests for 1 h\n")
    assert [each["state"] for each in told] == ["disabled"]
    assert 3590 < told[0]["operator_for_s"] <= 3600


@pytest.mark.parametrize("action", ["drain", "list"])
async def test_an_unknown_name_is_one_sentence_with_near_ones(ask, action):
    """Exit code 1, nothing on standard output."""
    status, out, err = await ask(action, "talsk")

    assert (status, out) == (1, "")
    assert "no backend is named 'talsk'" in err
    assert "did you mean 'talks'" in err


async def test_a_wrong_key_says_how_one_is_named(ask):
    """In JSON as well, where that was asked for."""
    status, out, _ = await ask("list", key="sk-wrong-0123456789", as_json=True)

    assert status == 1
    assert "--key" in json.loads(out)["error"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("30min", 1800), ("1h30m", 5400), ("2d", 172800), ("1.5h", 5400)]
)
def test_a_time_is_read_with_its_unit(text, seconds):
    """As people write it."""
    assert Span().read(text) == seconds


@pytest.mark.parametrize("text", ["10", "h", "1x", "-1h", "0s", "1e3s", "400d", "soon"])
def test_what_is_no_time_is_refused_with_an_example(text):
    """A number alone may mean seconds or hours."""
    with pytest.raises(ValueError, match=r"90s, 30m, 1h or 2d|at most a year"):
        Span().read(text)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["backend", "drain"], "name what to drain: llmproxy backend drain NAME"),
        (["backend", "resume", "x", "--for", "1h"], "--for goes with drain and disable"),
        (["backend", "stop"], "'stop' is not one of"),
        (["backend", "drain", "x", "--for", "soon"], "'soon' is not a length of time"),
    ],
)
def test_mistakes_are_told_before_anything_is_asked(command, arguments, sentence):
    """Exit code 2, one sentence."""
    done = command.run(*arguments)

    assert done.returncode == 2
    assert sentence in done.stderr


def test_a_word_holds_for_all_worker_processes(command, port):
    """Whichever of them it was said to; the short form of a made-up id is enough."""
    command.write(
        "config.yaml",
        "model_list:\n  - {model_name: hello, litellm_params: {model: openai/hello, mock_response: hi}}\n",
    )
    command.serve("--config", "config.yaml", "--port", str(port), "--local", "--num_workers", "2", port=port)

    identity = request(port, "/backends")[1]["backends"][0]["id"]
    drained = request(port, f"/backends/{identity[:12]}/drain", {"for_s": 3600})
    time.sleep(HEARD_S)
    refused = {request(port, PATH, CHAT)[0] for _ in range(8)}
    request(port, "/backends/hello/resume", {})
    time.sleep(HEARD_S)
    answered = {request(port, PATH, CHAT)[0] for _ in range(8)}

    assert [each["state"] for each in drained[1]["backends"]] == ["draining"]
    assert refused == {503}
    assert answered == {200}
