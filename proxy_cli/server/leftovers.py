"""Streams whose caller has left, read on to their end so that what they used is known, where that is wanted.

Without it (`abort_policy: cancel`) the backend is cancelled at once, and what has come is counted by us. Owns the
streams that are read on; they are few and not for long: beyond that they are cancelled like any other.
"""

import asyncio
from typing import Final

import msgspec

from proxy_cli.answer import Answer
from proxy_cli.errors import GatewayError, forget_frames
from proxy_cli.server.keeping import Settling
from proxy_cli.shapes import Call, Record
from proxy_cli.tasks import Tasks

_MOST: Final = 16  # in one process
_LONGEST_S: Final = 30.0
DRAIN: Final = "drain"


class Leftovers:
    """Reads on. `policy` holds for deployments whose `model_info.abort_policy` says nothing."""

    def __init__(self, gateway: Settling, policy: str, *, most: int = _MOST, longest_s: float = _LONGEST_S) -> None:
        self._gateway = gateway
        self._policy = policy
        self._most = most
        self._longest_s = longest_s
        self._tasks = Tasks()
        self.under_way = 0

    def take(self, call: Call, answer: Answer, record: Record) -> bool:
        """Take over a stream that nobody reads any more; False: it is to be cancelled."""
        policy = answer.deployment.info.get("abort_policy", self._policy)
        relay = answer.relay
        if policy != DRAIN or relay is None or relay.finished or answer.failure is not None:
            return False
        if self.under_way >= self._most:
            return False
        self.under_way += 1
        kept = msgspec.structs.replace(answer)
        answer.relay = answer.held = None
        self._tasks.spawn(self._read_on(call, kept, msgspec.structs.replace(record)), "stream of a caller who left")
        return True

    async def close(self) -> None:
        """Cancel what is left."""
        await self._tasks.close()

    async def _read_on(self, call: Call, answer: Answer, record: Record) -> None:
        relay = answer.relay
        assert relay is not None
        try:
            async with asyncio.timeout(self._longest_s):
                relay.resume()
                while await relay.next():
                    pass
        except GatewayError as failure:
            answer.failure = failure
            forget_frames(failure)
        except (TimeoutError, RuntimeError, ConnectionError):
            pass  # what has come by now is counted: it takes too long, or the connection went with the caller's
        finally:
            self.under_way -= 1
            self._gateway.settle(call, answer, record)
            answer.close()
