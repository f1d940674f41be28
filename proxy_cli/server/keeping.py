"""What is done with each piece of a stream before it leaves, where more is kept than its sum.

Owns whether a stream is settled already. Two settings ask for it: prompts and answers in the ledger, and a ledger that
has the row before the caller has the end. Rule: with neither there is none of this, so that it costs nothing.
"""

from typing import Protocol

from proxy_cli.answer import Answer
from proxy_cli.shapes import Account, Call, Record


class Settling(Protocol):
    """What puts down what an answer used."""

    def settle(self, call: Call, answer: Answer, record: Record) -> None:
        """An answer has ended."""


class Keeping:
    """One stream's."""

    __slots__ = ("_account", "_answer", "_call", "_is_strict", "_record", "_relay", "_settling", "is_settled")

    def __init__(
        self, settling: Settling, account: Account, call: Call, answer: Answer, record: Record, *, is_strict: bool
    ) -> None:
        self._settling = settling
        self._account = account
        self._call = call
        self._answer = answer
        self._relay = answer.relay
        self._record = record
        self._is_strict = is_strict
        self.is_settled = False

    def piece(self, data: bytes) -> None:
        """These bytes are about to leave."""
        self._account.keep(data)
        if self._is_strict and self._relay is not None and self._relay.finished:
            # What comes now is the last of it; whether the client takes it changes nothing of what it costs.
            self._record.delivered = True
            self._settle()

    def end(self) -> None:
        """Nothing but what ends the response is to leave yet."""
        if self._is_strict:
            self._settle()

    def _settle(self) -> None:
        if not self.is_settled:
            self.is_settled = True
            self._settling.settle(self._call, self._answer, self._record)


def keeping_of(settling: Settling, call: Call, answer: Answer, record: Record, *, is_strict: bool) -> Keeping | None:
    """What is to be done with a stream's pieces, if anything."""
    account = call.account
    if account is None or not (is_strict or account.keeps_words):
        return None
    return Keeping(settling, account, call, answer, record, is_strict=is_strict)
