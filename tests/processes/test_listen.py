"""The port: had, or refused with one plain sentence."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from proxy_cli.processes.listen import CannotListen, check_address, open_listeners, port_holder

NOBODY = 65534


@pytest.fixture
def taken():
    """A port that this very process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def free():
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "::", "0.0.0.0"])
def test_listeners_accept_connections_on_every_form_of_address(host, free):
    """Names, both families, with and without brackets."""
    [listener] = open_listeners(host, free)
    plain = host.strip("[]")
    target = {"::": "127.0.0.1", "0.0.0.0": "127.0.0.1"}.get(plain, plain)

    with listener, socket.create_connection((target, free), timeout=5) as client:
        assert client.getpeername()[1] == free


def test_listeners_for_several_processes_share_the_port(free):
    """Each process has a socket of its own, so that the kernel spreads the connections."""
    listeners = open_listeners("127.0.0.1", free, 3)

    addresses = {listener.getsockname() for listener in listeners}
    for listener in listeners:
        listener.close()

    assert len(listeners) == 3
    assert addresses == {("127.0.0.1", free)}


def test_check_address_leaves_nothing_open(free):
    """After it the port is free as before."""
    check_address("127.0.0.1", free)

    with socket.create_server(("127.0.0.1", free)):
        with pytest.raises(CannotListen, match=f"^port {free} is in use"):
            check_address("127.0.0.1", free)


@pytest.mark.row("C-48")
@pytest.mark.parametrize("count", [1, 2])
def test_listeners_refuse_a_port_in_use_and_name_its_holder(taken, count):
    """Also when several processes would share it: nobody joins in on another program's port."""
    name = Path("/proc/self/comm").read_text().strip()

    with pytest.raises(CannotListen, match=rf"^port {taken} is in use \(pid {os.getpid()} {name}\); stop"):
        open_listeners("127.0.0.1", taken, count)


@pytest.mark.row("C-48")
def test_listeners_refuse_the_shared_port_of_another_start(free):
    """A second start with several processes does not join the first."""
    first = open_listeners("127.0.0.1", free, 2)

    with pytest.raises(CannotListen, match=f"^port {free} is in use"):
        open_listeners("127.0.0.1", free, 2)

    for listener in first:
        listener.close()


@pytest.mark.row("C-49")
def test_listeners_refuse_an_address_of_another_machine(free):
    """192.0.2.0/24 belongs to nobody (RFC 5737)."""
    with pytest.raises(CannotListen, match=r"^host 192\.0\.2\.1 is not an address of this machine; give"):
        open_listeners("192.0.2.1", free)


@pytest.mark.row("C-49")
@pytest.mark.parametrize("host", ["no host", "300.1.2.3.4", "a" * 300])
def test_listeners_refuse_a_host_that_is_none(host, free):
    """What is neither an address nor a name."""
    with pytest.raises(CannotListen, match="is neither an address nor a known name; check --host"):
        open_listeners(host, free)


@pytest.mark.row("C-49")
def test_listeners_refuse_a_low_port_without_rights():
    """Port 80 is root's, where the system has not been told otherwise."""
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80:
        pytest.skip("this system gives low ports to everybody")
    code = """
from proxy_cli.processes.listen import CannotListen, open_listeners
import encodings.idna, os
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
try:
    open_listeners("127.0.0.1", 80)
except CannotListen as problem:
    print(problem)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)

    assert done.stdout == (
        "port 80 needs rights that this user does not have; choose one from 1024 up with --port\n"
    ), done.stderr


def test_port_holder_is_unknown_where_the_system_does_not_say(tmp_path, taken):
    """No /proc, no name, no failure."""
    assert port_holder(taken, tmp_path) is None


def test_port_holder_of_a_free_port_is_nobody(free):
    """Nothing listens there."""
    assert port_holder(free) is None


@pytest.mark.row("O-13")
def test_listener_at_a_path_is_a_socket_of_the_file_system(tmp_path):
    """Shared by all processes, for the kernel spreads nothing there."""
    path = tmp_path / "llmproxy.sock"

    first, second = open_listeners(f"unix:{path}", 4000, 2)

    assert first is second
    with first, socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        first.setblocking(True)
        server, _ = first.accept()
        server.close()


def test_socket_that_nobody_listens_on_is_taken_over(tmp_path):
    """A process that was killed leaves its file behind."""
    path = tmp_path / "llmproxy.sock"
    open_listeners(f"unix:{path}", 4000)[0].close()

    check_address(f"unix:{path}", 4000)

    assert not path.exists()


def test_socket_that_somebody_listens_on_is_left_alone(tmp_path):
    """So is a file that is no socket: each is told in one sentence."""
    path, note = tmp_path / "llmproxy.sock", tmp_path / "note"
    note.write_text("mine")

    with open_listeners(f"unix:{path}", 4000)[0]:
        with pytest.raises(CannotListen, match=r"somebody listens on unix:.*llmproxy\.sock already"):
            check_address(f"unix:{path}", 4000)
        with pytest.raises(CannotListen, match=r"note is there and is no socket"):
            check_address(f"unix:{note}", 4000)

    assert note.read_text() == "mine"


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("unix:", "^--host unix: needs the path of a file"),
        (f"unix:/{'x' * 107}", "of at most 107 bytes"),
        ("unix:/no/such/folder/s", "cannot listen on unix:/no/such/folder/s: No such file or directory"),
    ],
)
def test_path_that_cannot_be_listened_on_is_one_plain_sentence(host, sentence):
    """With what is wrong about it."""
    with pytest.raises(CannotListen, match=sentence):
        check_address(host, 4000)
