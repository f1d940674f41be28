"""What a driver says, in words that anybody may read; and what is our own fault goes on as it is."""

import socket
import sqlite3
import ssl

import pytest
from sqlalchemy.exc import DataError, IntegrityError, NoResultFound, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from proxy_cli.errors import Overloaded
from proxy_cli.store.failures import StoreUnavailable, is_ours, meaning, sqlstate


class Said(Exception):
    """What PostgreSQL has said."""

    def __init__(self, state):
        super().__init__("words with a secret")
        self.sqlstate = state


def wrapped(original, kind=OperationalError):
    """As SQLAlchemy hands on what a driver raises."""
    return kind("SELECT 1", {}, original)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (sqlite3.OperationalError("database or disk is full"), "its disk is full"),
        (sqlite3.OperationalError("database is locked"), "another program holds it locked"),
        (sqlite3.DatabaseError("database disk image is malformed"), "its file is damaged"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "it can only be read"),
        (Said("53300"), "it takes no more connections"),
        (Said("28P01"), "the password is wrong"),
        (Said("XX000"), "it reports the error XX000"),
    ],
)
def test_what_a_driver_says_has_a_meaning(error, words):
    """Wrapped or not; the driver's own words, which may hold what is nobody's business, are not shown."""
    assert meaning(error) == meaning(wrapped(error)) == words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(), "nothing listens there"),
        (socket.gaierror(), "the name of its host is not known"),
        (ssl.SSLCertVerificationError(), "its certificate is not trusted"),
        (ssl.SSLError(), "no TLS connection to it comes about"),
        (TimeoutError(), "it does not answer in time"),
        (PoolTimeout(), "it does not answer in time"),
        (ConnectionResetError(), "the connection to it is lost or refused"),
    ],
)
def test_a_server_that_says_nothing_has_failed_in_some_way(error, words):
    """The system's exceptions have their meaning too, and are never ours."""
    assert meaning(error) == words
    assert not is_ours(error)


@pytest.mark.parametrize(
    "error",
    [
        wrapped(sqlite3.IntegrityError("UNIQUE constraint failed"), IntegrityError),
        wrapped(sqlite3.OperationalError('near "SELEKT": syntax error')),
        wrapped(Said("42601")),
        wrapped(Said("22001"), DataError),
        NoResultFound(),
    ],
)
def test_what_is_wrong_with_the_work_is_ours(error):
    """It would fail at any time, so nobody is told to come back."""
    assert is_ours(error)


@pytest.mark.parametrize("state", ["42P01", "53100", "57P01", "25006", "08006"])
def test_what_a_server_may_recover_from_is_not_ours(state):
    """A 503 that passes."""
    assert not is_ours(wrapped(Said(state)))
    assert sqlstate(wrapped(Said(state))) == state


def test_a_store_that_is_not_available_is_a_503_that_passes():
    """Callers are told when to come back, and learn no path and no host."""
    failure = StoreUnavailable("its disk is full")

    assert isinstance(failure, Overloaded)
    assert (failure.status, failure.code, failure.retry_after_s) == (503, "store_unavailable", 2.0)
    assert failure.message == "the database is not available: its disk is full"
