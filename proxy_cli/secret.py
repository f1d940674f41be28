"""Secrets: values that may travel in headers and nowhere else.

A `Secret` prints as `***` in every way Python prints a value; only `reveal()` gives the text, and only the
rooms that write headers or compare keys call it.
"""

from collections.abc import Iterable

_SHORTEST_TO_HINT = 16


class Secret:
    """A text that must not show in logs, errors, reprs or JSON."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for a header or a comparison."""
        return self._text

    def outline(self) -> str:
        """Its length, and its end as far as a hint may show it: enough to see that a key has lost a part of itself."""
        length = f"{len(self._text)} characters"
        return f"{length}, {hint(self._text)}" if len(self._text) >= _SHORTEST_TO_HINT else length

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a secret is never pickled")


def hint(text: str) -> str:
    """Enough of a key to recognise it by, `sk-…7890`; nothing of one that is shorter than 16 characters."""
    if len(text) < _SHORTEST_TO_HINT:
        return "***"
    prefix = "sk-" if text.startswith("sk-") else ""
    return f"{prefix}…{text[-4:]}"


class Scrubber:
    """Replaces known secret values in text that we did not write ourselves."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        # Longest first, so that one secret which contains another is masked whole. Very short values ("None",
        # "x") are everyday words: masking them would only garble messages.
        found = {secret.reveal() for secret in secrets if len(secret.reveal()) >= 8}
        self._texts = sorted(found, key=len, reverse=True)

    def learn(self, other: "Scrubber") -> None:
        """Replace the secrets of another one as well from now on."""
        self._texts = sorted({*self._texts, *other._texts}, key=len, reverse=True)  # noqa: SLF001 - of its own kind

    def scrub(self, text: str) -> str:
        """The text with every known secret replaced by `***`."""
        for secret in self._texts:
            if secret in text:
                text = text.replace(secret, "***")
        return text

    def scrub_bytes(self, data: bytes) -> bytes:
        """The same for bytes of a message that is otherwise passed on as it is."""
        for secret in self._texts:
            raw = secret.encode()
            if raw in data:
                data = data.replace(raw, b"***")
        return data
