"""How soon llmproxy serves, and knows what was spent, when it starts with a long journal that no database has yet.

`python -m bench.replay --rows 1000000` writes the journal as a killed process leaves it, one key having spent its whole
budget in there and the other not, starts llmproxy, and asks with both.
"""

import argparse
import hashlib
import json
import sqlite3
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

from bench.proof import programs
from bench.proof_load import MASTER
from bench.proof_server import Server
from proxy_cli.ledger.journal import Journal, Room
from proxy_cli.ledger.row import Row, State

_COST_NANO: Final = 1_000
_ROOM_BYTES: Final = 8 * 1024**3
_WITHIN_S: Final = 60.0


def ask(server: Server, path: str, secret: str, body: dict[str, object]) -> tuple[int, bytes]:
    """Status and body, as soon as somebody listens."""
    head = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
    request = urllib.request.Request(server.url + path, json.dumps(body).encode(), head)
    until_s = time.monotonic() + _WITHIN_S
    while True:
        try:
            with urllib.request.urlopen(request, timeout=_WITHIN_S) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.01)


def write_journal(folder: Path, digests: list[str], rows: int) -> None:
    """What a process leaves that was killed before any of it was in the database."""
    journal = Journal(Room(folder, max_bytes=_ROOM_BYTES), node="former", number=0)
    for number in range(rows):
        key = digests[number % len(digests)]
        charges = (("key", key, 0), ("user", f"user-{number % 1000}", 0))
        row = Row(request_id=f"{number:032x}", key=key, model="oracle-1", backend_model="oracle", charges=charges)
        row.started_at, row.reserved_nano = time.time_ns() // 1000, 2 * _COST_NANO
        journal.intent(row)
        row.state, row.usage_source, row.cost_nano = State.SETTLED, "provider", _COST_NANO
        row.prompt_tokens, row.completion_tokens, row.status = 11, 5, 200
        journal.settle(row)
    journal.close()


def measure(folder: Path, rows: int) -> list[str]:
    """What was found, line by line."""
    with programs(folder, 0) as proof:
        spent_usd = rows // 2 * _COST_NANO / 1e9
        secrets = [made_key(proof.server, spent_usd * share) for share in (1.0, 2.0)]
        proof.server.stop()
        digests = [hashlib.sha256(secret.encode()).hexdigest() for secret in secrets]
        write_journal(folder / "data" / "journal", digests, rows)
        began_s = time.monotonic()
        proof.server.start()
        body: dict[str, object] = {"model": "oracle-1", "max_tokens": 5, "messages": [{"role": "user", "content": "1"}]}
        statuses = []
        lines = []
        for word, secret in zip(("that has spent its budget", "that has half of it left"), secrets, strict=True):
            statuses.append(ask(proof.server, "/v1/chat/completions", secret, body)[0])
            lines.append(f"the key {word} is answered {statuses[-1]} after {time.monotonic() - began_s:.2f} s")
        with sqlite3.connect(f"file:{proof.database}?mode=ro", uri=True) as connection:
            count = connection.execute("SELECT count(*) FROM llmproxy_ledger").fetchone()[0]
        lines.append(f"{count} of {rows} rows are in the database then")
        return [*lines, "as it must be" if statuses == [422, 200] else "WRONG"]


def made_key(server: Server, budget_usd: float) -> str:
    """A key with a budget."""
    _, said = ask(server, "/key/generate", MASTER, {"max_budget": budget_usd})
    secret: str = json.loads(said)["key"]
    return secret


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.replay", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llmproxy-replay-") as folder:
        lines = measure(Path(folder), asked.rows)
    print("\n".join(lines))
    return 0 if lines[-1] != "WRONG" else 1


if __name__ == "__main__":
    sys.exit(main())
