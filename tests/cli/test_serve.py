"""`llmproxy` serves: every option once right, once wrong; real processes, real sockets, real signals."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from proxy_cli.cli.options import OPTIONS
from tests.fakes.backend import running_backend
from tests.fakes.command import HELLO, ROOT, ask, chat, ended

LOCAL = "--host=127.0.0.1"


@pytest.fixture
def config(command):
    """A file with one model that answers by itself."""
    return str(command.write("config.yaml", HELLO))


@pytest.fixture(scope="module")
def pem(tmp_path_factory, require):
    """A key and a certificate for localhost, in one folder."""
    folder = tmp_path_factory.mktemp("pem")
    subprocess.run(
        [
            require("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-keyout", folder / "key.pem", "-out", folder / "cert.pem",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config", "{config}", "--detailed_debug", "--port", "{port}", "--"],
        ["serve", "-c", "{config}", "--port={port}", LOCAL, "--keepalive-timeout", "5", "--limit_concurrency", "9"],
        ["--port", "1", "serve", "--config", "{config}", "--port", "{port}", "--local"],
    ],
)
def test_serve_takes_every_form_of_the_command_line(command, config, port, arguments):
    """The seed's line with its trailing `--`, the subcommand, options before and after it, both spellings."""
    process = command.serve(*(each.format(config=config, port=port) for each in arguments), port=port)

    assert chat(port) == "こんにちは"
    code, errors = ended(process)
    assert code == 0
    assert f":{port}" in errors
    assert "Traceback" not in errors


def test_serve_listens_on_ipv6_and_ends_cleanly_on_ctrl_c(command, config, port):
    """Brackets are taken off the host and shown in the address; SIGINT is exit code 0 too."""
    process = command.serve("--config", config, "--port", str(port), "--host", "[::1]", port=port, host="::1")

    assert chat(port, host="::1") == "こんにちは"
    code, errors = ended(process, signal.SIGINT)
    assert code == 0
    assert f"http://[::1]:{port}" in errors


def test_serve_reads_variables_and_a_dotenv_and_says_so(command, config, port):
    """Flag over variable over `.env`; our own names over LiteLLM's."""
    command.write(".env", f"PORT=1\nLLMPROXY_PORT={port}\nHOST=127.0.0.1\n")

    process = command.serve("--config", config, port=port, PORT="2")

    assert chat(port) == "こんにちは"
    assert re.search(r"^llmproxy: read \S+/\.env: PORT, LLMPROXY_PORT, HOST$", ended(process)[1], re.MULTILINE)


def test_serve_runs_several_processes_on_one_port(command, config, port):
    """All answer, and a signal to the parent ends all."""
    process = command.serve("--config", config, "--port", str(port), LOCAL, "--num-workers", "2", port=port)

    answers = [chat(port) for _ in range(4)]
    code, errors = ended(process)

    assert answers == ["こんにちは"] * 4
    assert code == 0
    assert errors.count(f"http://127.0.0.1:{port}\n") == 1, "the address is told once"


def test_serve_runs_under_gunicorn(command, config, port):
    """`--run_gunicorn`: gunicorn's master, our server."""
    process = command.serve("--config", config, "--port", str(port), LOCAL, "--run_gunicorn", port=port)

    assert chat(port) == "こんにちは"
    code, errors = ended(process)
    assert code == 0
    assert "served through gunicorn" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("arguments", [["--num_workers", "2", "--detailed_debug"], ["--run_gunicorn"]])
def test_serve_writes_json_from_the_first_line_to_the_last(command, port, arguments):
    """Where the file asks for JSON: notes, warnings, the start, requests, the end."""
    command.write("config.yaml", HELLO + "litellm_settings: {json_logs: true, cache: true}\n")
    command.write(".env", "A=1\n")
    process = command.serve(
        "--config", "config.yaml", "--port", str(port), LOCAL, "--run_granian", *arguments, port=port, REDIS_URL="x"
    )

    assert chat(port) == "こんにちは"
    code, errors = ended(process)
    told = [json.loads(line) for line in errors.splitlines()]

    words = [
        "read /",
        "--run_granian does nothing",
        "litellm_settings.cache",
        "REDIS_URL",
        "llmproxy 0.",
        "POST /v1/chat",
    ]
    found = [next(at for at, line in enumerate(told) if word in line["message"]) for word in words]
    assert code == 0
    # The first process may answer while the last one is still starting.
    assert found[:5] == sorted(found[:5])
    assert {"INFO", "WARNING"} <= {line["level"] for line in told}


@pytest.mark.parametrize("redirection", ["<&- >&- 2>&-", "2>/dev/full"])
def test_serve_goes_on_where_nothing_can_be_said(command, config, port, redirection):
    """Closed standard streams and a full disk: callers are answered all the same."""
    line = f"exec {sys.executable} -m proxy_cli --config {config} --port {port} {LOCAL} --num_workers 2 {redirection}"
    process = subprocess.Popen(["sh", "-c", line], cwd=command.folder, env=command.environ({}), start_new_session=True)
    command.running.append(process)
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError):
            assert chat(port) == "こんにちは"
            break
        time.sleep(0.05)

    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


async def test_serve_asks_azure_for_the_version_of_the_command_line(command, port):
    """--api_version with a file is for the models that name none themselves."""
    async with running_backend() as backend:
        azure = f"model: azure/dep, api_key: k, api_base: '{backend.origin}'"
        own = f"{azure}, api_version: '2024-10-21'"
        command.write(
            "config.yaml",
            f"model_list:\n  - model_name: plain\n    litellm_params: {{{azure}}}\n"
            f"  - model_name: own\n    litellm_params: {{{own}}}\n",
        )
        arguments = ["--config", "config.yaml", "--api_version", "2023-05-15", "--port", str(port), LOCAL]
        process = await in_thread(lambda: command.serve(*arguments, port=port))
        for name in ("plain", "own"):
            await in_thread(lambda name=name: ask(port, "/chat/completions", {"model": name, "messages": []}))
        await in_thread(lambda: ended(process))
        targets = [request.target for request in backend.requests]

    assert [target.partition("?")[2] for target in targets] == ["api-version=2023-05-15", "api-version=2024-10-21"]


def test_serve_names_the_package_that_gunicorn_needs(command, config, port):
    """It is an extra: without it, the command that installs it."""
    command.write("gunicorn.py", "raise ImportError('not here')\n")

    done = command.run("--config", config, "--port", str(port), LOCAL, "--run_gunicorn")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "llmproxy: --run_gunicorn needs gunicorn, which is not installed: pip install gunicorn"
    )


def test_serve_replaces_a_process_after_its_number_of_requests(command, config, port):
    """The counter of the real server is what is watched; jitter comes on top."""
    limit = ["--max_requests_before_restart", "3", "--max_requests_before_restart_jitter", "1"]
    process = command.serve("--config", config, "--port", str(port), LOCAL, *limit, port=port)
    assert chat(port) == "こんにちは"
    first = children(process.pid)

    answers = [chat(port) for _ in range(3)]
    until = time.monotonic() + 20
    while first & children(process.pid) and time.monotonic() < until:
        time.sleep(0.05)

    assert answers == ["こんにちは"] * 3
    assert len(first) == len(children(process.pid)) == 1
    assert not first & children(process.pid)
    assert chat(port) == "こんにちは"
    assert ended(process)[0] == 0


def children(pid):
    """The processes that a process has started."""
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def test_serve_speaks_https_with_key_and_certificate(command, config, port, pem):
    """Both options together turn HTTPS on."""
    files = ["--ssl_keyfile_path", str(pem / "key.pem"), "--ssl_certfile_path", str(pem / "cert.pem")]
    process = command.serve("--config", config, "--port", str(port), LOCAL, *files, port=port)
    tls = ssl.create_default_context(cafile=pem / "cert.pem")

    assert chat(port, host="localhost", tls=tls) == "こんにちは"
    assert f"https://127.0.0.1:{port}" in ended(process)[1]


@pytest.mark.row("C-57")
def test_serve_refuses_a_certificate_without_its_key(command, config, port, pem):
    """One sentence, exit code 2, before anything listens."""
    done = command.run("--config", config, "--port", str(port), "--ssl_certfile_path", str(pem / "cert.pem"))

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "llmproxy: HTTPS needs a key and a certificate; add --ssl_keyfile_path"


async def test_serve_one_model_without_a_file(command, port):
    """--model with its options: any name is served, headers and forced values reach the backend."""
    async with running_backend() as backend:
        arguments = [
            "--model", "openai/m", "--api_base", backend.url, "--alias", "short", "--headers", '{"X-Team": "search"}',
            "--temperature", "0.25", "--max_tokens", "7", "--request_timeout", "9", "--drop_params",
        ]  # fmt: skip
        process = await in_thread(
            lambda: command.serve(*arguments, "--port", str(port), LOCAL, port=port, OPENAI_API_KEY="sk-1")
        )
        status, answer = await in_thread(
            lambda: ask(port, "/chat/completions", {"model": "any", "messages": [], "temperature": 1})
        )
        listed = await in_thread(lambda: ask(port))
        await in_thread(lambda: ended(process))
        seen = backend.requests[-1]

    assert (status, answer["model"]) == (200, "any")
    assert [model["id"] for model in listed[1]["data"]] == ["short"]
    assert (seen.body["model"], seen.body["temperature"], seen.body["max_tokens"]) == ("m", 0.25, 7)
    assert seen.headers["x-team"] == "search"


async def in_thread(work):
    """Blocking work beside a backend that runs in this loop."""
    return await asyncio.to_thread(work)


def test_serve_keeps_a_model_and_finds_it_again(command, port):
    """--save with --alias, then --model with that name; what is said now wins."""
    model = ["--model", "openai/kept", "--api_base", "http://127.0.0.1:9/v1", "--alias", "mine", "--save"]
    process = command.serve(*model, "--port", str(port), LOCAL, port=port)
    ask(port)  # it serves: before that a signal ends it without a word
    told = ended(process)[1]

    process = command.serve("--model", "mine", "--port", str(port), LOCAL, port=port)
    listed = ask(port)[1]["data"]
    errors = ended(process)[1]

    assert "the defaults of 'mine' are kept in " in told
    assert [model["id"] for model in listed] == ["mine"]
    assert "http://127.0.0.1:9/v1/chat/completions" in errors


def test_serve_keeps_a_key_for_later(command):
    """--add_key alone stores and ends; the file is its owner's, the value is not repeated."""
    done = command.run("--add_key", "OPENAI_API_KEY=sk-very-secret-1")

    file = command.folder / "kept" / "secrets.env"
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"llmproxy: the key OPENAI_API_KEY is kept in {file}\n"
    assert file.stat().st_mode & 0o777 == 0o600


def test_serve_refuses_to_start_without_the_compiled_parser(command, config, port):
    """The one in Python takes requests that two servers may read differently."""
    result = command.run("--config", config, "--port", str(port), LOCAL, AIOHTTP_NO_EXTENSIONS="1")

    assert result.returncode == 1
    assert "aiohttp's compiled HTTP parser is missing" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.row("C-48")
def test_serve_refuses_a_port_in_use(command, config, port):
    """It names who holds it, and takes no other port."""
    with socket.create_server(("127.0.0.1", port)):
        done = command.run("--config", config, "--port", str(port), LOCAL)

    assert done.returncode == 1
    assert re.search(rf"^llmproxy: port {port} is in use \(pid {os.getpid()} \S+\); stop", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr


@pytest.mark.row("C-49")
@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--port", "70000"], 2, "'70000' is not a whole number from 1 to 65535"),
        (["--port", "0"], 2, "'0' is not a whole number from 1 to 65535"),
        (["--host", "192.0.2.1"], 1, "host 192.0.2.1 is not an address of this machine"),
        (["--host", "no.such.host.invalid"], 1, "is neither an address nor a known name; check --host"),
    ],
)
def test_serve_refuses_an_address_that_cannot_be(command, config, port, arguments, code, sentence):
    """A plain message, no traceback."""
    done = command.run("--config", config, "--port", str(port), *arguments)

    assert done.returncode == code
    assert sentence in done.stderr.splitlines()[-1]


@pytest.mark.row("C-50")
@pytest.mark.parametrize("path", ["none.yaml", "/dev/zero", "fifo"])
def test_serve_refuses_a_path_that_is_no_file(command, path):
    """Missing, without end, or a pipe that nobody writes to: a sentence that names it, and no hang."""
    os.mkfifo(command.folder / "fifo")

    done = command.run("--config", path)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert path in done.stderr


@pytest.mark.row("C-51")
def test_serve_warns_of_a_file_that_others_may_read(command, port):
    """Only when secrets stand in it."""
    text = HELLO.replace("mock_response", "api_key: sk-0123456789abcdef, mock_response")
    command.write("open.yaml", text).chmod(0o644)

    process = command.serve("--config", "open.yaml", "--port", str(port), LOCAL, port=port)
    ask(port)  # it serves: before that a signal ends it without a word
    errors = ended(process)[1]

    assert "every user of this machine can read" in errors
    assert "sk-0123456789abcdef" not in errors


@pytest.mark.row("C-55")
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"PORT": "abc"}, ["PORT", "the environment", "'abc'"]),
        ({"WORKERS": "-1"}, ["WORKERS", "-1"]),
        ({"LLMPROXY_PROT": "4000"}, ["LLMPROXY_PROT", "LLMPROXY_PORT"]),
    ],
)
def test_serve_refuses_bad_variables_by_name(command, config, variables, words):
    """The variable, where it was set, what is wrong."""
    done = command.run("--config", config, **variables)

    assert done.returncode == 2
    assert all(word in done.stderr for word in words)


@pytest.mark.row("C-56")
def test_serve_refuses_a_weak_master_key_off_loopback(command, config, port):
    """With the command that makes a good one; on loopback it serves."""
    key = "sk-1234"
    done = command.run("--config", config, "--port", str(port), LITELLM_MASTER_KEY=key)
    process = command.serve("--config", config, "--port", str(port), "--local", port=port, LITELLM_MASTER_KEY=key)

    assert done.returncode == 2
    assert "openssl rand" in done.stderr
    assert key not in done.stderr
    assert ask(port)[0] == 401
    assert ended(process)[0] == 0


@pytest.mark.row("C-56")
def test_serve_without_a_master_key_warns_once_off_loopback(command, config, port):
    """The seed's file has none: it serves."""
    process = command.serve("--config", config, "--port", str(port), port=port)
    ask(port)  # it serves: before that a signal ends it without a word

    assert ended(process)[1].count("no master key is set") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "nothing to serve: name a file with --config, or a model with --model; `llmproxy init` writes"),
        (["--use_queue"], "--use_queue comes with a later version of llmproxy"),
        (["--test_async"], "--test_async comes with a later version of llmproxy"),
        (["--num_requests", "5"], "--num_requests comes with a later version of llmproxy"),
        (["--save"], "--save keeps the defaults of one model; name it with --model"),
        (["--model", ""], "Invalid value for '-m' / '--model': the value is empty"),
        (["--model", "m", "--headers", '{"a" 1}'], "Invalid value for '--headers': not JSON at line 1, column 6"),
        (["--add_key", "sk-1"], "Invalid value for '--add_key': give a variable's name and its value"),
        (["--telemetry", "maybe"], "Invalid value for '--telemetry': 'maybe' is neither true nor false"),
        (["--num_workers", "0"], "Invalid value for '--num_workers': '0' is not a whole number from 1 to 256"),
        (["--max_budget", "-1"], "is not a number above 0"),
        (["--temperature", "hot"], "Invalid value for '--temperature': 'hot' is not a number from 0 to 100"),
        (["--max_tokens", "0"], "Invalid value for '--max_tokens': '0' is not a whole number of 1 or more"),
        (["--request_timeout", "0"], "Invalid value for '--request_timeout': '0' is not a number of 0.001 or more"),
        (["--limit_concurrency", "0"], "'--limit_concurrency': '0' is not a whole number of 1 or more"),
        (["--validate_config"], "--validate_config needs a file; name it with --config"),
    ],
)
def test_serve_refuses_bad_lines_with_one_sentence(command, arguments, sentence):
    """Exit code 2, one line on standard error."""
    done = command.run(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_serve_tells_of_every_option_that_does_nothing(command, config, port):
    """One line each, and it serves all the same; telemetry too is said once."""
    given = []
    for option in OPTIONS:
        if option.unused:
            given += [option.flag] if option.kind is None else [option.flag, "7"]

    process = command.serve("--config", config, "--port", str(port), LOCAL, *given, "--telemetry", "False", port=port)
    ask(port)  # it serves: before that a signal ends it without a word
    errors = ended(process)[1]

    lines = [line for line in errors.splitlines() if " does nothing: " in line]
    assert len(lines) == sum(option.unused is not None for option in OPTIONS)
    assert errors.count("llmproxy never phones home") == 1


def test_serve_skips_the_start_when_asked(command, config):
    """A migration job ends instead of serving."""
    done = command.run("--config", config, "--skip_server_startup")

    assert done.returncode == 0
    assert "no database to set up yet" in done.stderr


@pytest.mark.parametrize(("text", "code"), [(HELLO, 0), ("model_lst: []\n", 1)])
def test_serve_validates_a_file_with_litellms_exit_codes(command, text, code):
    """--validate_config: 0 or 1."""
    command.write("c.yaml", text)

    assert command.run("--validate_config", "--config", "c.yaml").returncode == code


def test_serve_tests_a_running_proxy(command, config, port):
    """--test with and without an address; --health without a file asks the proxy."""
    process = command.serve("--config", config, "--port", str(port), LOCAL, port=port)

    by_url = command.run("--test", f"http://127.0.0.1:{port}", "--model", "hello")
    by_port = command.run("--test", "--port", str(port), "--host", "127.0.0.1")
    health = command.run("--health", "--port", str(port), "--json")
    ended(process)
    nobody = command.run("--test", "--port", str(port))

    assert by_url.returncode == by_port.returncode == health.returncode == 0
    assert "こんにちは" in by_url.stdout
    assert nobody.returncode == 1
    assert "nothing listens at" in nobody.stderr


def test_serve_stops_at_the_budget(command, port):
    """--max_budget: the first answer is counted, the next is refused."""
    text = HELLO.replace("mock_response", "input_cost_per_token: 1, output_cost_per_token: 1, mock_response")
    command.write("c.yaml", text)
    process = command.serve("--config", "c.yaml", "--port", str(port), LOCAL, "--max_budget", "0.5", port=port)
    body = {"model": "hello", "messages": [{"role": "user", "content": "hi"}]}

    first = ask(port, "/v1/chat/completions", body)
    second = ask(port, "/v1/chat/completions", body)
    ended(process)

    assert (first[0], second[0]) == (200, 422)
    assert second[1]["error"]["type"] == "budget_exceeded"


@pytest.mark.parametrize("arguments", [["--num_workers", "3"], ["--num_workers", "3", "--run_gunicorn"]])
def test_serve_counts_the_budget_across_processes(command, port, arguments):
    """Once it is spent, every process of the port says so, whichever of them spent it."""
    model = "{model: openai/m, mock_response: hi, input_cost_per_token: 0.01, output_cost_per_token: 0.01}"
    file = command.write("c.yaml", f"model_list:\n  - model_name: hello\n    litellm_params: {model}\n")
    command.serve("--config", str(file), "--port", str(port), "--local", "--max_budget", "1.5", *arguments, port=port)
    body = {"model": "hello", "messages": [{"role": "user", "content": "hi"}]}

    statuses = [ask(port, "/v1/chat/completions", body)[0] for _ in range(40)]

    # A mocked answer is 30 tokens: five of them are the budget, and each connection may meet another process.
    assert statuses == [200] * 5 + [422] * 35


CERTIFICATES = """
import os
from proxy_cli.cli import serve
os.environ.update(SSL_CERT_FILE="/mine.pem")
with serve._without_certificates():
    import aiohttp.connector as connector
contexts = (connector._SSL_CONTEXT_VERIFIED, connector._SSL_CONTEXT_UNVERIFIED)
print(os.environ["SSL_CERT_FILE"], [context.cert_store_stats()["x509"] for context in contexts])
"""


def test_serve_reads_no_certificates_for_a_client_it_does_not_use():
    """Importing the HTTP library costs no reading of the system's certificates, and leaves the environment alone."""
    done = subprocess.run([sys.executable, "-c", CERTIFICATES], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "/mine.pem [0, 0]"
