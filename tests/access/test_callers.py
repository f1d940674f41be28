"""Who is calling, as one process knows it."""

from proxy_cli.access.callers import Callers
from proxy_cli.access.keys import Keys
from proxy_cli.callers import ANYONE


def test_without_a_master_key_anyone_is_let_in():
    """Without a word about keys, and with any."""
    callers = Callers(Keys(None))

    assert callers.admit((), "127.0.0.1") is ANYONE
    assert callers.admit((("authorization", "Bearer x"),), "127.0.0.1") is ANYONE
