"""What other processes have changed: asked of the store twice a second, so that nobody goes on with what is over.

Owns how far the list of changes has been read. While the store does not answer, what is known is gone on with; the list
is read from where it was left when it answers again.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from proxy_cli.store.base import Store
from proxy_cli.store.changes import changes_after, newest_change
from proxy_cli.store.failures import StoreUnavailable

logger = logging.getLogger(__name__)

_EVERY_S: Final = 0.5
_WITHIN_S: Final = 2.0


class News:
    """One process's reading of the list."""

    def __init__(self, store: Store, forget: Callable[[str, str], None], *, every_s: float = _EVERY_S) -> None:
        self._store = store
        self._forget = forget
        self._every_s = every_s
        self._number: int | None = None
        self.is_current = False  # whether the last look has succeeded

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._every_s)

    async def look(self) -> None:
        """Read the list once, and have what is on it forgotten."""
        number = self._number
        try:
            if number is None:
                # What is looked up from now on is as new as the list.
                self._number = await self._store.read(newest_change, within_s=_WITHIN_S)
                self._forget("*", "")
            else:
                self._number, changes = await self._store.read(
                    lambda connection: changes_after(connection, number), within_s=_WITHIN_S
                )
                for kind, id_ in changes:
                    self._forget(kind, id_)
        except StoreUnavailable as failure:
            if self.is_current:
                logger.warning("changes of keys are not seen: %s", failure.message)
            self.is_current = False
        else:
            self.is_current = True
