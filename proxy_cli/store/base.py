"""What a store can do, whichever database it stands on."""

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")

READ_WITHIN_S: Final = 5.0
WRITE_WITHIN_S: Final = 15.0


class Session(Protocol):
    """One transaction that is open: work is done in it, step by step."""

    async def __call__(self, work: Callable[[Connection], T], /) -> T:
        """What the work returns."""


class Store(Protocol):
    """One process's way to the database. Work is a plain function of a connection; it awaits nothing.

    Both calls raise StoreUnavailable where the database is gone, locked, full or too slow, and let what is wrong with
    the work itself go on (IntegrityError). Work may be done again from its start, so it changes nothing but rows.
    """

    dialect: str  # sqlite or postgresql
    shown: str  # where it is, without a password

    async def read(self, work: Callable[[Connection], T], *, within_s: float = READ_WITHIN_S) -> T:
        """What the work finds, in one transaction that writes nothing."""

    async def write(self, work: Callable[[Connection], T], *, within_s: float = WRITE_WITHIN_S) -> T:
        """What the work returns, in one transaction: all of it has happened, or nothing has."""

    async def close(self) -> None:
        """Finish what is under way, and give connections and threads back."""
