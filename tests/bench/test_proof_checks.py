"""The checks of the proof find what is wrong."""

import sqlite3

import pytest

from bench.oracle import PROMPT_TOKENS, completion_tokens
from bench.proof_checks import COMPLETION_NANO, PROMPT_NANO, SENTENCES, Expected, Findings, check, times_of
from proxy_cli.ledger.posting import Batch, post
from proxy_cli.ledger.row import State
from proxy_cli.store.opening import open_store
from tests.fakes.rows import settled
from tests.fakes.store import fresh_settings

EXPECTED = Expected(killed=1, concurrent=1, budgets={"k": 10**9}, bound_nano=0)


def row_of(number):
    """A request that was answered as the oracle answers."""
    tokens = (PROMPT_TOKENS, completion_tokens(number))
    cost = tokens[0] * PROMPT_NANO + tokens[1] * COMPLETION_NANO
    row = settled(f"id-{number}", cost=cost, tags=(f"proof-{number}",))
    row.prompt_tokens, row.completion_tokens = tokens
    return row


@pytest.fixture
async def books(tmp_path):
    """A ledger of three requests, and an oracle that has seen the same."""
    store = open_store(fresh_settings(tmp_path))
    batch = Batch(rows=[row_of(number) for number in range(3)], steps={})
    await store.write(lambda connection: post(connection, batch, node="n", keeps_rows=True))
    await store.close()
    (tmp_path / "oracle").write_text("started 0\nended 0\nstarted 1\nstarted 2\nstarted 2\n")
    return tmp_path


def found_in(books, *changes):
    """What is found after something was changed behind the ledger's back."""
    connection = sqlite3.connect(books / "llmproxy.db")
    for change in changes:
        connection.execute(change)
    connection.commit()
    connection.close()
    return check(books / "llmproxy.db", books / "oracle", EXPECTED)


def test_a_sound_ledger_has_nothing_broken(books):
    """Where all is well nothing is said."""
    found = found_in(books)

    assert (found.broken, found.rows, found.lost, found.duplicate, found.phantom) == ([], 3, 0, 0, 0)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("DELETE FROM llmproxy_ledger WHERE request_id = 'id-1'", "I1"),
        ("UPDATE llmproxy_ledger SET tags = '[\"proof-0\"]' WHERE request_id = 'id-1'", "I1"),
        ("UPDATE llmproxy_ledger SET tags = '[\"proof-9\"]' WHERE request_id = 'id-1'", "I3"),
        ("UPDATE llmproxy_ledger SET cost_nano = cost_nano + 1 WHERE request_id = 'id-1'", "I2"),
        ("UPDATE llmproxy_spend SET nano = nano - 1", "I2"),
        ("UPDATE llmproxy_daily SET nano = nano + 1", "I8"),
        ("UPDATE llmproxy_spend SET nano = 2000000000", "I6"),
    ],
)
def test_whatever_is_wrong_is_named(books, change, name):
    """A row that is missing, doubled, made up or of another cost, and a sum that is off, break their sentence."""
    found = found_in(books, change)

    assert any(sentence.startswith(name) for sentence in found.broken)


def test_more_unknown_rows_than_there_were_requests_under_way_are_told(books):
    """A kill may leave as many as ran at that moment, and no more."""
    found = found_in(books, f"UPDATE llmproxy_ledger SET state = '{State.UNKNOWN}', usage_source = 'reserved'")

    assert [sentence.split(":")[0] for sentence in found.broken] == ["D1"]


def test_each_model_has_a_price_of_its_own():
    """The number in its name says how many times the first one's."""
    assert [times_of(name) for name in ("oracle-1", "oracle-4", "oracle", "")] == [1, 4, 1, 1]


def test_a_verdict_is_given_on_each_sentence():
    """One that is broken is said to be, and all others hold."""
    found = Findings()

    found.must(False, "I5", "a place is taken")

    assert "I5 BROKEN" in found.verdicts()
    assert found.verdicts().count("holds") == len(SENTENCES) - 1
