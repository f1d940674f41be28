"""Prices that an operator has taken from a file: checked, and kept in the folder for data until others are taken.

The file has the shape of the table that ships, which is LiteLLM's: an object of models, each an object of prices and
abilities. Owns its copy, `prices.json.gz`. Refuses a file that would make any answer cost less than nothing, or
something that is no number. Nothing is ever fetched.
"""

import gzip
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from proxy_cli.config.price_names import is_known_price, is_price
from proxy_cli.prices import exact
from proxy_cli.shapes import Json

FILE_NAME: Final = "prices.json.gz"
_NOTE: Final = "llmproxy_note"
_NO_MODELS: Final = frozenset({"sample_spec", "fallback_generalizations"})  # what the list explains itself with
_MOST_BYTES: Final = 64 * 1024 * 1024
_NAMED: Final = ("tiered_pricing", "off_peak_pricing")  # hold more than prices


class _Note(msgspec.Struct):
    """Where the prices come from."""

    file: str
    taken_at: str
    models: int


@dataclass(frozen=True, slots=True)
class Kept:
    """Entries by model, each still as its bytes; and what is to be said of them."""

    entries: Mapping[str, msgspec.Raw] = field(default_factory=dict)
    note: str = ""


class BadPrices(ValueError):
    """A file of prices that is not taken; each line of the message says what is wrong with it."""


def read(folder: Path) -> Kept:
    """What is kept in a folder. What cannot be read is told, and the prices that ship hold."""
    path = folder / FILE_NAME
    try:
        entries = msgspec.json.decode(gzip.decompress(path.read_bytes()), type=dict[str, msgspec.Raw])
        note = msgspec.json.decode(entries.pop(_NOTE), type=_Note)
    except FileNotFoundError:
        return Kept()
    except (OSError, EOFError, zlib.error, KeyError, msgspec.DecodeError, UnicodeDecodeError):
        return Kept(note=f"the prices kept in {path} cannot be read, so those that ship hold; take them again")
    return Kept(entries, f"prices of {note.models} models are those of {note.file}, taken on {note.taken_at[:10]}")


def take(source: Path, folder: Path, now: datetime) -> tuple[int, tuple[str, ...]]:
    """Check a file and keep it: the number of its models, and doubts. Raises BadPrices, and OSError."""
    models, doubts = load(source)
    note = _Note(source.name, now.isoformat(timespec="seconds"), len(models))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / FILE_NAME
    # A reader sees the old prices or the new ones, whenever this ends.
    draft = path.with_name(f"{FILE_NAME}.{os.getpid()}")
    try:
        draft.write_bytes(gzip.compress(msgspec.json.encode({_NOTE: note, **models}), mtime=0))
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return len(models), doubts


def forget(folder: Path) -> bool:
    """Drop what is kept, so that the prices that ship hold again; whether there was anything."""
    try:
        (folder / FILE_NAME).unlink()
    except FileNotFoundError:
        return False
    return True


def load(source: Path) -> tuple[dict[str, Json], tuple[str, ...]]:
    """The models of a file, and what is doubtful. Raises BadPrices, and OSError."""
    if source.stat().st_size > _MOST_BYTES:
        raise BadPrices(f"{source} is larger than {_MOST_BYTES >> 20} MiB; a price list has some 3 MiB")
    try:
        found = msgspec.json.decode(source.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadPrices(f"{source} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadPrices(f"{source} holds no object; write one of models by name")
    models = {name: entry for name, entry in found.items() if name not in _NO_MODELS}
    if not models:
        raise BadPrices(f"{source} names no model")
    errors = [f"{name}: {wrong}" for name, entry in models.items() for wrong in _errors(entry)]
    if errors:
        raise BadPrices("\n".join(errors))
    return models, tuple(_doubts(models))


def _errors(entry: Json) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield f"{_shown(entry)} is no object; write prices by name"
        return
    for name, value in entry.items():
        if is_price(name):
            yield from _bad_prices(name, value)


def _bad_prices(name: str, value: Json) -> Iterator[str]:
    if isinstance(value, dict):
        for inner, price in value.items():
            if name not in _NAMED or is_price(inner):
                yield from _bad_prices(f"{name}.{inner}", price)
    elif isinstance(value, list):
        for at, each in enumerate(value):
            if isinstance(each, dict):
                priced = {inner: price for inner, price in each.items() if is_price(inner)}
                yield from _bad_prices(f"{name}[{at}]", priced)
    elif value is not None and (isinstance(value, str) or exact.price(value) is None):
        yield f"{name} is {_shown(value)}; write USD as a number that is 0 or more"


def _doubts(models: Mapping[str, Mapping[str, Json]]) -> Iterator[str]:
    unknown: dict[str, int] = {}
    for entry in models.values():
        for name in entry:
            if is_price(name) and not is_known_price(name):
                unknown[name] = unknown.get(name, 0) + 1
    for name, count in unknown.items():
        yield f"{name} is no price that is known here and counts for nothing (in {count} models)"
    nameless = sum(1 for entry in models.values() if not entry.get("litellm_provider"))
    if nameless:
        yield f"{nameless} models name no litellm_provider, so they are found by their prefix alone"


def _shown(value: Json) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
