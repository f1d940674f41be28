"""What PostgreSQL's driver is given."""

import ssl

import pytest

from proxy_cli.store.address import read_address
from proxy_cli.store.failures import StoreProblem
from proxy_cli.store.login import driver_options, tls_of

BASE = "postgresql://u:geheim@h/d"


def options(query=""):
    """The options of an address."""
    return driver_options(read_address(BASE + query), timeout_s=2.0, statement_s=15.0)


def test_host_and_login_are_handed_on():
    """The password is revealed here alone."""
    given = options()

    assert {name: given[name] for name in ("host", "port", "database", "user", "password", "timeout")} == {
        "host": "h",
        "port": 5432,
        "database": "d",
        "user": "u",
        "password": "geheim",
        "timeout": 2.0,
    }


def test_a_session_has_an_end_to_each_statement_and_the_schema_that_is_named():
    """A schema is quoted, so that its letters keep their case."""
    session = options("?schema=Team&socket_timeout=3")["server_settings"]

    assert session["statement_timeout"] == "3000"
    assert session["search_path"] == '"Team"'
    assert options()["server_settings"]["statement_timeout"] == "15000"


def test_behind_a_pooler_nothing_is_prepared_and_nothing_set():
    """The next statement may go to another session, and a pooler refuses parameters that it does not know."""
    given = options("?pgbouncer=true&schema=team&application_name=x")

    assert given["server_settings"] == {"application_name": "x"}
    assert given["statement_cache_size"] == given["prepared_statement_cache_size"] == 0


@pytest.mark.parametrize(
    ("query", "verify", "names_count"),
    [
        ("?sslmode=require", ssl.CERT_NONE, False),
        ("?sslmode=verify-ca", ssl.CERT_REQUIRED, False),
        ("?sslmode=verify-full", ssl.CERT_REQUIRED, True),
        ("?sslaccept=strict", ssl.CERT_REQUIRED, True),
    ],
)
def test_certificates_are_checked_as_the_address_says(query, verify, names_count):
    """By PostgreSQL's own words for it."""
    context = tls_of(read_address(BASE + query))

    assert isinstance(context, ssl.SSLContext)
    assert (context.verify_mode, context.check_hostname) == (verify, names_count)


def test_encryption_may_be_left_to_the_server_or_switched_off():
    """Without a word it is used where the server has it."""
    assert tls_of(read_address(BASE)) == "prefer"
    assert tls_of(read_address(BASE + "?sslmode=disable")) is False
    assert tls_of(read_address("postgresql://u@/d?host=/run/postgresql")) is None


def test_a_certificate_that_is_not_there_is_told(tmp_path):
    """With the parameters that name files, and without the password."""
    with pytest.raises(StoreProblem, match="sslrootcert") as problem:
        tls_of(read_address(f"{BASE}?sslmode=verify-full&sslrootcert={tmp_path}/none.pem"))

    assert "geheim" not in str(problem.value)
