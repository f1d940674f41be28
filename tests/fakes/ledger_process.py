"""A process that keeps a ledger until it is killed: `python -m tests.fakes.ledger_process FOLDER RUN REQUESTS`.

What was really sent stands in `sent`, which it appends to as a backend would: after the intent, before the outcome. It
says `ready` when it has begun, and ends in order after so many requests, if it comes to that.
"""

import asyncio
import os
import sys
from pathlib import Path

from proxy_cli.ledger.ledger import Ledger
from proxy_cli.store.opening import open_store
from proxy_cli.store.settings import StoreSettings
from tests.fakes.rows import intent, settled

OPEN_AT_ONCE = 5


async def serve(folder: Path, run: str, requests: int) -> None:
    """Requests that overlap, some of which are withdrawn."""
    store = open_store(StoreSettings(path=folder / "llmproxy.db"))
    ledger = Ledger(folder, node="n", segment_bytes=32 * 1024)
    ledger.enter(0)
    await ledger.start(store)
    sent = os.open(folder / "sent", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    print("ready", flush=True)
    for number in range(requests):
        name = f"{run}-{number}"
        ledger.journal.intent(intent(name, reserved=7))
        if number % 10 == 9:
            ledger.journal.void(name)
        else:
            os.write(sent, f"{name}\n".encode())
        earlier = number - OPEN_AT_ONCE
        if earlier >= 0 and earlier % 10 != 9:
            ledger.journal.settle(settled(f"{run}-{earlier}", cost=3))
        if number % 20 == 0:
            await asyncio.sleep(0.005)
    await ledger.stop()
    await store.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
