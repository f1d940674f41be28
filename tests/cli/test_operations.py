"""What operators do to a running proxy, with the real command: signals, rotation, odd machines, full disks."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import pytest

from tests.fakes.backend import running_backend
from tests.fakes.command import AT_MOST_S, HELLO, ROOT, Command, ask, chat, ended

LOCAL = "--host=127.0.0.1"
TWO = f"""{HELLO}
  - model_name: second
    litellm_params: {{model: openai/second, mock_response: two}}
"""


def behind(url, settings=""):
    """A file with one model of a backend."""
    return f"""\
model_list:
  - model_name: fast
    litellm_params: {{model: openai/fast, api_base: "{url}", api_key: None}}
{settings}
"""


def asked(content, **more):
    """A chat request's body."""
    return {"model": "fast", "messages": [{"role": "user", "content": content}], **more}


def descriptors(pid):
    """How many files a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def resident_kib(pid):
    """How much memory a process holds."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])


def children(pid):
    """The worker processes of a command."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def until(what, *, within_s=AT_MOST_S):
    """Wait until something is true."""
    async with asyncio.timeout(within_s):
        while not what():
            await asyncio.sleep(0.02)


def spawned(command, *words, stderr=subprocess.PIPE):
    """A program in the command's folder that is not waited for."""
    process = subprocess.Popen(
        words,
        cwd=command.folder,
        env=command.environ({}),
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        text=True,
        start_new_session=True,
    )
    command.running.append(process)
    return process


def serving(port):
    """The words of a command that serves `config.yaml`."""
    return (sys.executable, "-m", "proxy_cli", "--config", "config.yaml", "--port", str(port), LOCAL)


def answered(port):
    """The answer to a chat as soon as there is somebody to give one."""
    until_s = time.monotonic() + AT_MOST_S
    while time.monotonic() < until_s:
        try:
            return chat(port)
        except OSError:
            time.sleep(0.05)
    raise AssertionError("nobody answers")


async def opened(port, count):
    """Connections on which nothing is said."""
    return [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]


@pytest.mark.row("O-01")
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_sigterm_fails_no_request_and_cuts_no_stream(command, port, deep, workers):
    """Requests under way, streams, idle connections, and those who come at that moment."""
    plain, streams, idle = (500, 100, 200) if deep else (40, 10, 20)
    async with (
        running_backend(gap_s=0.02) as backend,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client,
    ):
        command.write(
            "config.yaml", behind(backend.url, f"general_settings: {{drain_wait_seconds: {5 if deep else 0.5}}}")
        )
        process = command.serve(
            "--config", "config.yaml", "--port", str(port), LOCAL, "--num_workers", workers, port=port
        )
        url = f"http://127.0.0.1:{port}/v1/chat/completions"

        async def post(**body):
            async with client.post(url, json=asked(**body)) as response:
                return response.status, await response.read()

        silent = await opened(port, idle)
        work = [asyncio.ensure_future(post(content="[[mock delay=1.5]]")) for _ in range(plain)]
        work += [asyncio.ensure_future(post(content="word " * 60, stream=True)) for _ in range(streams)]
        await until(lambda: len(backend.requests) + sum(each.done() for each in work) >= plain + streams)
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        async with aiohttp.ClientSession() as newcomer, newcomer.post(url, json=asked("late")) as late:
            late_status = late.status
        done = await asyncio.gather(*work)
        code = await asyncio.to_thread(process.wait, AT_MOST_S)
        ends = [await reader.read() for reader, _ in silent]
        for _, writer in silent:
            writer.close()

    assert [body for status, body in done if status != 200] == []
    assert all(body.rstrip().endswith(b"data: [DONE]") and b'"error"' not in body for _, body in done[plain:])
    assert late_status == 200
    assert ends == [b""] * idle
    assert code == 0


@pytest.mark.row("O-02")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_signal_to_an_idle_proxy_ends_it_at_once(command, port, number, workers):
    """Exit code 0, and nobody waits."""
    command.write("config.yaml", HELLO)
    process = command.serve("--config", "config.yaml", "--port", str(port), LOCAL, "--num_workers", workers, port=port)
    assert chat(port)

    code, errors = ended(process, number)

    assert code == 0
    assert "still under way" not in errors
    assert "Traceback" not in errors


@pytest.mark.row("O-02")
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_second_sigterm_ends_the_proxy_with_streams_under_way(command, port, workers):
    """Whoever asks twice means it: exit code 1, and a word in the log."""
    async with running_backend(gap_s=0.2) as backend, aiohttp.ClientSession() as client:
        command.write("config.yaml", behind(backend.url))
        process = command.serve(
            "--config", "config.yaml", "--port", str(port), LOCAL, "--num_workers", workers, port=port
        )
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        async with client.post(url, json=asked("word " * 500, stream=True)) as response:
            await response.content.readline()
            process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.3)
            is_waiting = process.poll() is None
            code, errors = await asyncio.to_thread(ended, process)

    assert is_waiting
    assert code == 1
    assert "ended at once, with requests under way" in errors
    assert "Traceback" not in errors


@pytest.mark.row("O-02")
@pytest.mark.parametrize("after_s", [0.05, 0.3, 0.6])
def test_signal_during_the_start_leaves_nothing_behind(command, port, after_s):
    """The process ends, by itself or by the signal, and says nothing alarming."""
    command.write("config.yaml", HELLO)
    process = spawned(command, *serving(port), "--num_workers", "2")

    time.sleep(after_s)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=AT_MOST_S)

    assert process.returncode in {0, -signal.SIGTERM}
    assert "Traceback" not in errors
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))


@pytest.mark.row("O-04")
@pytest.mark.row("C-62")
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_reloads_under_load_fail_no_request_and_leave_nothing_behind(command, port, deep, workers):
    """Good and broken files in turn: every answer is whole, and files and memory stay as they were."""
    rounds = 100 if deep else 12
    command.write("config.yaml", HELLO)
    process = command.serve("--config", "config.yaml", "--port", str(port), LOCAL, "--num_workers", workers, port=port)
    processes = [process.pid, *children(process.pid)]
    statuses, stop = [], asyncio.Event()
    url = f"http://127.0.0.1:{port}/v1/chat/completions"

    async def load(client):
        while not stop.is_set():
            async with client.post(url, json={**asked("hi"), "model": "hello"}) as response:
                statuses.append(response.status)
                await response.read()

    async def reload(client, text):
        command.write("config.yaml", text)
        async with client.post(f"http://127.0.0.1:{port}/config/reload") as response:
            return response.status

    async with aiohttp.ClientSession() as client:
        loads = [asyncio.ensure_future(load(client)) for _ in range(4)]
        told = [await reload(client, TWO if turn % 2 else HELLO) for turn in range(4)]
        await asyncio.sleep(1.2)
        before = [(descriptors(pid), resident_kib(pid)) for pid in processes]
        for turn in range(rounds):
            told += [await reload(client, (HELLO, TWO, "model_list: [")[turn % 3])]
        await asyncio.sleep(1.5)
        after = [(descriptors(pid), resident_kib(pid)) for pid in processes]
        stop.set()
        await asyncio.gather(*loads)
        async with client.get(f"http://127.0.0.1:{port}/metrics") as response:
            figures = await response.text()

    broken = sum(status == 400 for status in told)
    assert set(statuses) == {200}
    assert told == [200] * 4 + [(200, 200, 400)[turn % 3] for turn in range(rounds)]
    assert f"llmproxy_config_reload_failed_total {broken}" in figures
    assert f"llmproxy_config_reloads_total {len(told) - broken}" in figures
    for (files_before, kib_before), (files_after, kib_after) in zip(before, after, strict=True):
        assert files_after <= files_before + 2
        assert kib_after < kib_before + 8 * 1024
    code, _ = await asyncio.to_thread(ended, process)
    assert code == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_file_that_is_saved_is_taken_with_reload(command, port, workers):
    """Also what it includes; without the option nothing happens by itself."""
    command.write("config.yaml", "include: [models.yaml]\n")
    command.write("models.yaml", HELLO)
    command.serve(
        "--config", "config.yaml", "--port", str(port), LOCAL, "--reload", "--num_workers", workers, port=port
    )
    status, _ = ask(port, "/v1/models/second")

    command.write("models.yaml", TWO)
    until_s = time.monotonic() + AT_MOST_S
    while ask(port, "/v1/models/second")[0] != 200 and time.monotonic() < until_s:
        time.sleep(0.05)

    assert status == 404
    assert chat(port, "second") == "two"


@pytest.mark.row("O-05")
@pytest.mark.parametrize("way", ["rename", "copytruncate"])
def test_rotation_of_the_log_loses_no_line(command, port, way):
    """The log is what standard error is sent to; each request is in one of the files, whole."""
    command.write("config.yaml", HELLO)
    log, old = command.folder / "log", command.folder / "log.1"
    with log.open("a") as output:
        process = spawned(command, *serving(port), stderr=output)
    answered(port)

    for _ in range(4):
        chat(port)
    time.sleep(0.5)
    if way == "rename":
        log.rename(old)
    else:
        old.write_bytes(log.read_bytes())
        os.truncate(log, 0)
    for _ in range(5):
        chat(port)
    process.send_signal(signal.SIGTERM)
    process.wait(AT_MOST_S)

    written = [file.read_bytes() for file in (old, log) if file.exists()]
    assert b"\0" not in b"".join(written)
    assert sum(data.count(b"POST /v1/chat/completions") for data in written) == 10


@pytest.mark.row("O-06")
def test_few_files_are_a_warning_and_a_pause_and_no_end(command, port):
    """With `ulimit -n 64`: more clients than files wait; when some leave, the others are answered."""
    command.write("config.yaml", HELLO)
    process = spawned(command, "/bin/sh", "-c", f"ulimit -n 64; exec {' '.join(serving(port))}")
    answered(port)

    clients = [socket.create_connection(("127.0.0.1", port), timeout=AT_MOST_S) for _ in range(100)]
    time.sleep(0.5)
    before_s = cpu_s(process.pid)
    time.sleep(1.0)
    spent_s = cpu_s(process.pid) - before_s
    for client in clients:
        client.close()
    answer = chat(port)
    code, errors = ended(process)

    assert "this process may open 64 files only" in errors
    assert "new clients have to wait" in errors
    assert "Traceback" not in errors
    assert spent_s < 0.5
    assert answer == "こんにちは"
    assert code == 0


@pytest.mark.row("O-07")
@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONOPTIMIZE": "2"},
        {"TZ": ":/no/such/zone", "LC_ALL": "C", "LANG": "xx_YY"},
        {"HOME": "/nonexistent", "TMPDIR": "/nonexistent"},
    ],
    ids=["optimized", "zone and locale", "no home, no temporary folder"],
)
def test_proxy_serves_on_odd_machines(command, port, variables):
    """Nothing of them is needed."""
    command.write("config.yaml", HELLO)
    process = command.serve("--config", "config.yaml", "--port", str(port), LOCAL, port=port, **variables)

    assert chat(port) == "こんにちは"
    code, errors = ended(process)

    assert code == 0
    assert "Traceback" not in errors


@pytest.mark.row("O-07")
def test_proxy_serves_as_nobody_who_may_write_nowhere(port, require):
    """As containers do: another user, a file that is only read, a folder that cannot be written to."""
    if os.geteuid() != 0:
        pytest.skip("only root can become nobody")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        command = Command(Path(name))
        command.write("config.yaml", HELLO).chmod(0o444)
        command.folder.chmod(0o555)
        process = spawned(command, require("setpriv"), *_AS_NOBODY, *serving(port))

        assert answered(port) == "こんにちは"
        assert ended(process)[0] == 0


# May read everything, for the Python of these tests may lie in root's own folder, and write nothing.
_AS_NOBODY = (
    "--reuid=65534", "--regid=65534", "--clear-groups",
    "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search",
)  # fmt: skip


@pytest.mark.row("O-10")
def test_full_disk_of_the_log_stops_nobody(command, port):
    """Requests are served, the end is clean."""
    command.write("config.yaml", HELLO)
    with Path("/dev/full").open("w") as full:
        process = spawned(command, *serving(port), stderr=full)
    answered(port)

    answers = {chat(port) for _ in range(20)}
    process.send_signal(signal.SIGTERM)

    assert answers == {"こんにちは"}
    assert process.wait(AT_MOST_S) == 0


@pytest.mark.row("O-13")
@pytest.mark.parametrize(("host", "targets"), [("::", ("127.0.0.1", "::1")), ("::1", ("::1",))])
def test_proxy_serves_both_families_of_addresses_or_the_newer_alone(command, port, host, targets):
    """`::` means every address of the machine."""
    command.write("config.yaml", HELLO)
    process = command.serve("--config", "config.yaml", "--port", str(port), "--host", host, port=port, host=targets[0])

    answers = [chat(port, host=target) for target in targets]
    code, errors = ended(process)

    assert answers == ["こんにちは"] * len(targets)
    assert code == 0
    assert f"http://[{host}]:{port}" in errors


@pytest.mark.row("O-13")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_proxy_serves_on_a_socket_at_a_path(command, workers):
    """For a web server in front of it on the same machine; the file goes with the process."""
    command.write("config.yaml", HELLO)
    path = command.folder / "s"
    process = command.serve("--config", "config.yaml", "--host", f"unix:{path}", "--num_workers", workers, path=path)

    answers = [by_socket(path, target) for target in ("/v1/models", "/health/liveliness", "/no/such/path")]
    code, errors = ended(process)

    assert [answer.split()[1] for answer in answers] == [b"200", b"200", b"404"]
    assert (code, path.exists()) == (0, False)
    assert f"on unix:{path}" in errors


def by_socket(path, target):
    """The whole response to one request."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(AT_MOST_S)
        client.connect(str(path))
        client.sendall(f"GET {target} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: client.recv(65536), b""))


def cpu_s(pid):
    """The processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.row("O-08")
def test_no_duration_is_measured_with_the_clock_of_the_wall():
    """That one is set by people and by servers of time: it may only date things."""
    dating = {
        "cli/say.py",  # lines of the log
        "telemetry/lines.py",
        "cli/serve.py",  # whether a certificate is valid now
        "server/reload.py",
        "server/reply.py",  # the Date header
        "server/counter.py",  # ids are in the order of time
        "store/moments.py",  # when things were made
        "ledger/reading.py",  # which files are old
        "cli/prices.py",  # the day of a price table
    }
    asks = re.compile(r"\btime\.time\(|\btime_ns\(|datetime\.now\(|\butcnow\(|\blocaltime\(|\bgmtime\(")
    found = {
        str(source.relative_to(ROOT / "proxy_cli"))
        for source in (ROOT / "proxy_cli").rglob("*.py")
        if asks.search(source.read_text("utf-8"))
    }

    assert found <= dating, "a new place that asks the wall's clock: use time.monotonic, or say here that it dates"
