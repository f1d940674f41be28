import pytest

from proxy_cli.access.keys import CARRIERS, Keys
from proxy_cli.callers import ANYONE
from proxy_cli.errors import InvalidRequest, Unauthenticated
from proxy_cli.secret import Secret

MASTER = "sk-master-0123456789"


def presented(name, value):
    return ((name, f"Bearer {value}" if name == "authorization" else value),)


@pytest.mark.parametrize("name", CARRIERS)
def test_each_carrier_opens_and_refuses_alike(name):
    """The same key is accepted and a wrong one refused, wherever a client puts it."""
    keys = Keys(Secret(MASTER))

    assert keys.admit(presented(name, MASTER)).hint == "sk-…6789"
    with pytest.raises(Unauthenticated):
        keys.admit(presented(name, MASTER + "x"))


def test_without_a_master_key_anyone_may_call():
    """Any key or none is accepted."""
    keys = Keys(None)

    assert keys.admit(()) is ANYONE
    assert keys.admit(presented("authorization", "None")) is ANYONE


def test_the_master_keys_holder_is_an_administrator_and_so_is_anybody_where_there_is_none():
    """No digest of the master key is kept: it is no key of the store."""
    caller = Keys(Secret(MASTER)).admit(presented("x-api-key", MASTER))

    assert caller.is_admin
    assert caller.key == ""
    assert Keys(None).admit(()).is_admin


def test_a_missing_key_says_how_to_send_one():
    """The refusal names the header."""
    with pytest.raises(Unauthenticated, match="Authorization") as caught:
        Keys(Secret(MASTER)).admit(())

    assert caught.value.status == 401


@pytest.mark.row("P-05")
@pytest.mark.parametrize(
    ("wrong", "shown"), [("sk-wrong-key-of-someone-1234", "sk-…1234"), ("short-key", "***"), ("x" * 16, "…xxxx")]
)
def test_a_wrong_key_is_shown_by_its_end_at_most(wrong, shown):
    """The message has a hint of a key of 16 characters and more, and nothing of a shorter one."""
    with pytest.raises(Unauthenticated) as caught:
        Keys(Secret(MASTER)).admit(presented("authorization", wrong))

    assert shown in caught.value.message
    assert wrong not in caught.value.message
    assert MASTER not in caught.value.message


def test_two_different_keys_are_refused():
    """A request that says two things is not guessed at."""
    headers = (("authorization", f"Bearer {MASTER}"), ("x-api-key", "other"))

    with pytest.raises(InvalidRequest, match="two different"):
        Keys(Secret(MASTER)).admit(headers)


def test_the_same_key_twice_is_fine():
    """Clients that fill in two headers with one key are let in."""
    headers = (("authorization", f"Bearer {MASTER}"), ("api-key", MASTER))

    assert Keys(Secret(MASTER)).admit(headers)


def test_a_header_of_the_teams_own_wins():
    """With litellm_key_header_name, Authorization may hold something for somebody else."""
    keys = Keys(Secret(MASTER), header_name="X-Team-Key")
    headers = (("x-team-key", f"Bearer {MASTER}"), ("authorization", "Bearer for-the-gateway-in-front"))

    assert keys.admit(headers)


@pytest.mark.parametrize("odd", ["é" * 20, "\udcff" * 20, "Bearer", "bearer  " + MASTER, " "])
def test_odd_keys_are_refused_or_read_and_never_raise_anything_else(odd):
    """Bytes that are no text, a scheme without a key, more spaces than one."""
    keys = Keys(Secret(MASTER))

    if odd.strip().endswith(MASTER):
        assert keys.admit((("authorization", odd),))
    else:
        with pytest.raises(Unauthenticated):
            keys.admit((("authorization", odd),))


@pytest.mark.parametrize("name", CARRIERS)
@pytest.mark.parametrize("second", ["other", MASTER + "x"])
def test_two_different_keys_in_one_header_are_refused(name, second):
    """A header that comes twice is two keys, in whichever order."""
    for first, last in ((MASTER, second), (second, MASTER)):
        headers = ((name, first), (name, last))
        with pytest.raises(InvalidRequest, match="two different"):
            Keys(Secret(MASTER)).admit(headers)


def test_an_empty_key_beside_a_good_one_is_none():
    """SDKs send `Bearer ` when their key is empty and the real one stands in another header."""
    assert Keys(Secret(MASTER)).admit((("authorization", "Bearer "), ("api-key", MASTER)))
