"""What goes wrong with a database: while serving it is a 503 that passes, at a start one sentence with its cure.

Exceptions of SQLAlchemy and of the drivers end in this room. What breaks a rule of a table (`IntegrityError`) goes on:
whoever writes knows what it means. No sentence names a password, and none that callers see names a host or a path.
"""

import socket
import sqlite3
import ssl
from typing import Final

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from proxy_cli.errors import Overloaded

_RETRY_AFTER_S: Final = 2.0

# A part of what the driver says (SQLite's text, PostgreSQL's SQLSTATE) to what it means. The first that fits counts.
_MEANINGS: Final = (
    ("disk is full", "its disk is full"),
    ("database is locked", "another program holds it locked"),
    ("already exists", "it has tables of ours, but not which version they are of; name another database"),
    ("readonly database", "it can only be read"),
    ("malformed", "its file is damaged"),
    ("not a database", "its file is damaged"),
    ("disk i/o error", "its disk has failed"),
    ("unable to open", "its file cannot be opened"),
    ("interrupted", "the answer took too long"),
    ("no such table", "its tables are missing; run `llmproxy db upgrade`"),
    ("no such column", "its tables are of another version; run `llmproxy db upgrade`"),
)
_STATES: Final = {
    "42P01": "its tables are missing; run `llmproxy db upgrade`",
    "42703": "its tables are of another version; run `llmproxy db upgrade`",
    "25006": "it can only be read",
    "42P07": "it has tables of ours, but not which version they are of; drop them, or name another database",
    "53100": "its disk is full",
    "53300": "it takes no more connections",
    "57014": "the answer took too long",
    "57P01": "it is being shut down",
    "57P02": "it has crashed",
    "57P03": "it is starting or stopping",
    "40P01": "two changes waited for each other",
    "40001": "two changes came at once",
    "55P03": "a lock was held for too long",
    "28P01": "the password is wrong",
    "28000": "the user may not come in",
    "3D000": "there is no such database",
    "42501": "the user has no right to this",
}
_FAULTS_OF_OURS: Final = {"22", "23", "42"}  # classes of SQLSTATE: data, constraints, syntax
_WRONG_ARGUMENT: Final = "invalid input for query argument"  # asyncpg's, before anything is sent
READ_ONLY: Final = "25006"
_KINDS: Final = (  # of failures before PostgreSQL could say anything
    (socket.gaierror, "the name of its host is not known"),
    (ssl.SSLCertVerificationError, "its certificate is not trusted"),
    (ssl.SSLError, "no TLS connection to it comes about"),
    (ConnectionRefusedError, "nothing listens there"),
)
AGAIN: Final = frozenset({"40P01", "40001"})  # the same once more may well succeed


class StoreProblem(Exception):
    """Why there is no store: one sentence for whoever starts the program, with the cure; never a password."""


class NoPlace(StoreProblem):
    """The file cannot be made or written where it is to be."""


class NotThere(StoreProblem):
    """The server does not let us in now; it may later."""


class StoreUnavailable(Overloaded):
    """The database does not answer now, or takes nothing."""

    code = "store_unavailable"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the database is not available: {reason}", retry_after_s=_RETRY_AFTER_S)
        self.reason = reason


def sqlstate(error: BaseException) -> str:
    """PostgreSQL's five letters for what went wrong; empty where it said none."""
    for each in (error, getattr(error, "orig", None), getattr(getattr(error, "orig", None), "__cause__", None)):
        state = getattr(each, "sqlstate", None) or getattr(each, "pgcode", None)
        if isinstance(state, str):
            return state
    return ""


def meaning(error: BaseException) -> str:
    """What a failure means, in words that anybody may read."""
    state = sqlstate(error)
    if state:
        return _STATES.get(state, f"it reports the error {state}")
    if isinstance(error, TimeoutError | PoolTimeout):
        return "it does not answer in time"
    for kind, words in _KINDS:
        if isinstance(error, kind):
            return words
    return _of_sqlite(error) or "the connection to it is lost or refused"


def _of_sqlite(error: BaseException) -> str:
    said = str(getattr(error, "orig", None) or error).lower()
    return next((words for part, words in _MEANINGS if part in said), "")


def is_ours(error: BaseException) -> bool:
    """Whether the fault is in what was asked, so that the same would fail at any time: it goes on as it is."""
    if isinstance(error, IntegrityError):
        return True
    state = sqlstate(error)
    if state:
        return state not in _STATES and state[:2] in _FAULTS_OF_OURS
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return not _of_sqlite(error)
    if isinstance(error, DBAPIError):
        return _WRONG_ARGUMENT in str(cause)
    return isinstance(error, SQLAlchemyError) and not isinstance(error, PoolTimeout)
