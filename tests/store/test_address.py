"""PostgreSQL's address: every parameter is put to use or named, and no password shows."""

import pytest

from proxy_cli.secret import Secret
from proxy_cli.store.address import read_address
from proxy_cli.store.failures import StoreProblem

BASE = "postgresql://u:geheim@h:6432/d"


def test_an_address_is_taken_apart():
    """Letters that are percent-encoded are decoded once."""
    address = read_address("postgresql://us%40er:p%40ss%2F@[::1]:6432/my%20db")

    assert (address.host, address.port, address.database, address.user) == ("::1", 6432, "my db", "us@er")
    assert address.password == Secret("p@ss/")
    assert str(address) == "postgresql://us@er:***@[::1]:6432/my db"


@pytest.mark.parametrize(
    ("query", "field", "value"),
    [
        ("schema=team", "schema", "team"),
        ("connection_limit=5", "pool", 5),
        ("pool_timeout=3", "pool_timeout_s", 3.0),
        ("pool_timeout=0", "pool_timeout_s", None),
        ("connect_timeout=4", "connect_timeout_s", 4.0),
        ("socket_timeout=30", "statement_timeout_s", 30.0),
        ("pgbouncer=true", "is_pooled", True),
        ("statement_cache_size=0", "is_pooled", True),
        ("statement_cache_size=500", "is_pooled", False),
        ("sslmode=require", "ssl_mode", "require"),
        ("sslaccept=strict", "ssl_mode", "verify-full"),
        ("sslaccept=strict&sslmode=require", "ssl_mode", "verify-full"),
        ("sslmode=require&sslaccept=accept_invalid_certs", "ssl_mode", "require"),
        ("sslcert=ca.pem", "ssl_root", "ca.pem"),
        ("sslrootcert=ca.pem", "ssl_root", "ca.pem"),
        ("sslcert=me.pem&sslkey=me.key", "ssl_certificate", "me.pem"),
        ("host=/run/postgresql", "host", "/run/postgresql"),
        ("application_name=x", "server", {"application_name": "x"}),
        ("channel_binding=prefer", "unused", ("channel_binding",)),
    ],
)
def test_parameters_are_put_to_use(query, field, value):
    """Prisma's and libpq's names each set what they mean."""
    assert getattr(read_address(f"{BASE}?{query}"), field) == value


@pytest.mark.row("C-52")
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://u:ge@heim@h/d", "%40"),
        ("postgresql://u:ge/heim@h/d", "percent-encoded"),
        ("postgresql://u:geheim@h:port/d", "percent-encoded"),
        ("postgresql://u:geheim@/d", "no host"),
        ("postgresql://u:geheim@h", "no name of a database"),
        (f"{BASE}?schmea=a", "'schmea', which is not known here"),
        (f"{BASE}?schema=a-b", "'schema' of the database's address is no name"),
        (f'{BASE}?schema=a";drop', "'schema' of the database's address is no name"),
        (f"{BASE}?connection_limit=0", "'connection_limit' of the database's address is no number"),
        (f"{BASE}?pool_timeout=1s", "'pool_timeout' of the database's address is no number of seconds: 1s"),
        (f"{BASE}?pgbouncer=maybe", "neither true nor false: maybe"),
        (f"{BASE}?sslmode=on", "verify-full: on"),
        (f"{BASE}?sslaccept=no", "strict"),
        (f"{BASE}?sslkey=", "is empty"),
    ],
)
def test_what_cannot_be_read_is_told_without_the_password(url, words):
    """The sentence names the part that is wrong, and says what to write."""
    with pytest.raises(StoreProblem) as problem:
        read_address(url)

    assert words in str(problem.value)
    assert "heim" not in str(problem.value)
