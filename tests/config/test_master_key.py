"""Which keys may guard an address that others can reach."""

import pytest

from proxy_cli.config.master_key import master_key_problem
from proxy_cli.secret import Secret

WEAK = ["sk-1234", "sk-2", "sk-12345678901234", "changeme", "sk-aaaaaaaaaaaaaaaaaaaa", "sk-abcdefghijklmnop"]
STRONG = "sk-8f2c1e0b7a9d4c63"


@pytest.mark.row("C-56")
@pytest.mark.parametrize("key", WEAK)
def test_a_weak_key_is_refused_off_loopback(key):
    """With a command that makes one, and without repeating the key."""
    problem = master_key_problem(Secret(key), "0.0.0.0", permitted=False)

    assert problem is not None
    assert problem.refused
    assert "openssl rand -hex 32" in problem.text
    assert key not in problem.text.replace("sk-$(", "")


@pytest.mark.row("C-56")
def test_no_key_serves_with_one_warning_off_loopback():
    """As the file says nothing of a key, nobody needs one."""
    problem = master_key_problem(None, "0.0.0.0", permitted=False)

    assert problem is not None
    assert not problem.refused
    assert "no master key is set" in problem.text


@pytest.mark.row("C-56")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
@pytest.mark.parametrize("key", [None, Secret("sk-1234")])
def test_on_loopback_anything_goes(host, key):
    """Only this machine can reach it."""
    assert master_key_problem(key, host, permitted=False) is None


@pytest.mark.row("C-56")
def test_what_was_permitted_is_not_refused():
    """A weak key is warned of, none at all was asked for."""
    weak = master_key_problem(Secret("sk-1234"), "0.0.0.0", permitted=True)

    assert weak is not None
    assert not weak.refused
    assert master_key_problem(None, "0.0.0.0", permitted=True) is None


def test_a_strong_key_is_no_problem():
    """Sixteen characters that are not all alike are enough."""
    assert master_key_problem(Secret(STRONG), "0.0.0.0", permitted=False) is None
