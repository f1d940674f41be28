"""What must hold of a ledger after any number of kills, beside what the backend says that it was asked."""

import json
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.oracle import PROMPT_TOKENS, completion_tokens

TAG: Final = "proof-"
PROMPT_NANO: Final = 1_000  # for each token of the first model, twice as much of the second; `bench/proof.py` says so
COMPLETION_NANO: Final = 2_000
SENTENCES: Final = (*(f"I{number}" for number in range(1, 9)), "D0", "D1", "log")
_MAY_BE_UNSEEN: Final = {"failed", "unknown", "aborted"}  # nothing of it has reached the backend, perhaps


@dataclass(slots=True)
class Findings:
    """What was counted, and every sentence that is not true."""

    rows: int = 0
    unknown: int = 0
    aborted: int = 0
    lost: int = 0
    duplicate: int = 0
    phantom: int = 0
    wrong_cost: int = 0
    overspend_nano: int = 0
    broken: list[str] = field(default_factory=list)

    def verdicts(self) -> str:
        """Each sentence, and whether it holds."""
        names = Counter(sentence.partition(":")[0] for sentence in self.broken)
        return "   ".join(f"{name} {'BROKEN' if names[name] else 'holds'}" for name in SENTENCES)

    def must(self, holds: bool, name: str, otherwise: str) -> None:
        """Put down that something does not hold."""
        if not holds:
            self.broken.append(f"{name}: {otherwise}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the run was like."""

    killed: int  # processes that served
    concurrent: int
    budgets: dict[str, int]  # digest of a key to its budget
    bound_nano: int  # by how much a key may be over it: none, where what a call may cost is known beforehand


def check(database: Path, oracle: Path, expected: Expected) -> Findings:
    """I1 to I4, I6 and I8; what can be seen only while it runs is not checked here."""
    found = Findings()
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    rows = connection.execute("SELECT * FROM llmproxy_ledger").fetchall()
    seen = {int(line.split()[1]) for line in oracle.read_text().splitlines() if line.startswith("started ")}
    _requests(found, rows, seen, expected)
    _amounts(found, rows)
    _sums(found, rows, connection)
    _budgets(found, connection, expected)
    connection.close()
    return found


def number_of(row: sqlite3.Row) -> int | None:
    """Which request a row is of, by its tag."""
    tags = [tag for tag in json.loads(row["tags"]) if tag.startswith(TAG)]
    return int(tags[0].removeprefix(TAG)) if tags else None


def times_of(model: str) -> int:
    """How many times the price of the first model one has: `oracle-3` three times."""
    number = model.rpartition("-")[2]
    return int(number) if number.isdigit() else 1


def _requests(found: Findings, rows: list[sqlite3.Row], seen: set[int], expected: Expected) -> None:
    numbers = Counter(number_of(row) for row in rows)
    unseen = [row for row in rows if number_of(row) not in seen]
    states = Counter(row["state"] for row in rows)
    found.rows, found.unknown, found.aborted = len(rows), states["unknown"], states["aborted"]
    found.lost = len(seen - set(numbers))
    found.duplicate = sum(count - 1 for count in numbers.values())
    found.phantom = sum(row["state"] not in _MAY_BE_UNSEEN for row in unseen)
    found.must(found.lost == 0, "I1", f"{found.lost} requests reached the backend and have no row")
    found.must(found.duplicate == 0, "I1", f"{found.duplicate} rows are there twice")
    found.must(found.phantom == 0, "I3", f"{found.phantom} rows are of requests that the backend never saw")
    most = expected.killed * expected.concurrent
    found.must(found.unknown <= most, "D1", f"{found.unknown} rows are unknown; {most} requests were under way at most")


def _amounts(found: Findings, rows: list[sqlite3.Row]) -> None:
    for row in rows:
        is_sound = row["cost_nano"] >= 0 and row["prompt_tokens"] >= 0 and row["completion_tokens"] >= 0
        found.must(is_sound, "I4", f"{row['request_id']} has a negative cost or count")
        number = number_of(row)
        if number is None or row["usage_source"] != "provider":
            continue
        tokens = (PROMPT_TOKENS, completion_tokens(number))
        exact = (tokens[0] * PROMPT_NANO + tokens[1] * COMPLETION_NANO) * times_of(row["model_group"])
        found.wrong_cost += (row["prompt_tokens"], row["completion_tokens"], row["cost_nano"]) != (*tokens, exact)
    found.must(found.wrong_cost == 0, "I1", f"{found.wrong_cost} rows have other tokens or costs than the backend told")


def _sums(found: Findings, rows: list[sqlite3.Row], connection: sqlite3.Connection) -> None:
    by_key: Counter[str] = Counter()
    for row in rows:
        by_key[row["key"]] += row["cost_nano"]
    query = "SELECT id, sum(nano) AS nano FROM llmproxy_spend WHERE kind = 'key' GROUP BY id"
    spent = {row["id"]: row["nano"] for row in connection.execute(query)}
    for key, nano in by_key.items():
        if key:
            said = spent.get(key, 0)
            found.must(said == nano, "I2", f"key {key[:8]} has spent {said} by its sum and {nano} by its rows")
    total = sum(by_key.values())
    daily = connection.execute(
        "SELECT coalesce(sum(nano), 0), coalesce(sum(requests), 0) FROM llmproxy_daily"
    ).fetchone()
    found.must(tuple(daily) == (total, len(rows)), "I8", f"days have {tuple(daily)}, rows {(total, len(rows))}")


def _budgets(found: Findings, connection: sqlite3.Connection, expected: Expected) -> None:
    for key, most in expected.budgets.items():
        query = "SELECT coalesce(sum(nano), 0) FROM llmproxy_spend WHERE kind = 'key' AND id = ?"
        nano = connection.execute(query, (key,)).fetchone()[0]
        found.overspend_nano = max(found.overspend_nano, nano - most)
    over, bound = found.overspend_nano, expected.bound_nano
    found.must(over <= bound, "I6", f"a key has spent {over} nano-dollars more than its budget; the bound is {bound}")
