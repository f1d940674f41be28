"""The price table that ships with the package: prices, windows and abilities of some 4,000 models by name.

It owns the lookup by name and nothing else; `cost.py` reads the prices. The data is a dated copy (data/NOTICE) and is
never downloaded; entries that an operator has taken from a file (`kept.py`) go before it. Loading cuts it into entries
that stay bytes until they are asked for: that is a fifth of the time and of the memory that decoding them all would
take.
"""

import re
import zlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final, Self

import msgspec

from proxy_cli.prices import kept
from proxy_cli.prices.book import BY_SIZE
from proxy_cli.shapes import Json

_FILE = "model_prices.json.gz"
_GZIP = 16 + zlib.MAX_WBITS  # zlib's way to say that there is a gzip header
_RULES = "fallback_generalizations"  # rules about names, not a model
# An entry of its own for a quality and a size of picture: azure/hd/1024-x-1024/dall-e-3.
_PICTURE: Final = re.compile(r"((?:\w+/)??)((?:\w+/)?\d+-x-\d+)/(.+)")

# Names that the table splits by kind of model, and the one provider that serves them all.
_FAMILIES = {
    "vertex_ai": "vertex_ai",
    "fireworks_ai": "fireworks_ai",
    "bedrock_converse": "bedrock",
    "bedrock_mantle": "bedrock",
    "cohere_chat": "cohere",
    "azure_text": "azure",
    "text-completion-codestral": "codestral",
    "text-completion-inception": "inception",
    "text-completion-openai": "openai",
    "custom_openai": "openai",
    "ai21_chat": "ai21",
    "ollama_chat": "ollama",
}


class _Provided(msgspec.Struct, gc=False):
    """Whose model an entry is."""

    litellm_provider: str = ""


class PriceTable:
    """Entries by model name, with or without a provider's prefix."""

    __slots__ = ("_entries", "_pictures", "note")

    def __init__(self, entries: Mapping[str, msgspec.Raw], note: str = "") -> None:
        self._entries = entries
        self._pictures = _pictures(entries)
        self.note = note  # a sentence for operators, where other prices than those that ship are in use

    @classmethod
    @cache
    def load(cls, folder: Path | None = None) -> Self:
        """The table in the package, under the prices that are kept in a folder for data.

        It is read once in the life of a process, so a configuration that is read again has the same one.
        """
        packed = files("proxy_cli").joinpath("data", _FILE).read_bytes()
        # Into one piece of the size that gzip's last four bytes tell: pieces that are joined would leave holes behind,
        # in the memory that a process keeps for all its time.
        table = zlib.decompress(packed, wbits=_GZIP, bufsize=int.from_bytes(packed[-4:], "little"))
        entries = msgspec.json.decode(table, type=dict[str, msgspec.Raw])
        entries.pop(_RULES, None)
        if folder is None:
            return cls(entries)
        own = kept.read(folder)
        entries.update(own.entries)
        return cls(entries, own.note)

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, model: str, provider: str | None = None, base_model: str | None = None) -> Mapping[str, Json] | None:
        """The entry of a model: by its `base_model`, its provider and name, or its name alone.

        A bare name counts only where its entry is of the same provider, so that a server of one's own which calls its
        model as another provider does is not billed at that one's prices.
        """
        for name in (base_model, model):
            if not name:
                continue
            found = self._entry(f"{provider}/{name}") if provider else None
            if found is None:
                found = self._entry(name)
                if found is not None and name is model and not _same(provider, found):
                    found = None
            if found is not None:
                return found
        return None

    def pictures(
        self, model: str, provider: str | None = None, base_model: str | None = None
    ) -> Mapping[str, Mapping[str, Json]]:
        """What a model's pictures cost by quality and size, by `hd/1024-x-1024`, where each has an entry of its own."""
        for name in (base_model, model):
            for each in (f"{provider}/{name}", name):
                sizes = self._pictures.get(each or "", {})
                entries = {size: found for size, key in sizes.items() if (found := self._entry(key)) is not None}
                own = {size: found for size, found in entries.items() if _same(provider, found)}
                if own:
                    return own
        return {}

    def priced(
        self, known: Mapping[str, Json], model: str, provider: str | None, base_model: str | None = None
    ) -> Mapping[str, Json]:
        """A model's entry with what its pictures cost by quality and size."""
        pictures = self.pictures(model, provider, base_model)
        return {**known, BY_SIZE: pictures} if pictures else known

    def provider_of(self, model: str) -> str | None:
        """Whose model a name without a prefix is, or None."""
        entry = self._entry(model)
        if entry is None and model.startswith("ft:"):
            # A fine-tuned model, ft:gpt-4o-mini:team::id, goes where the model goes that it was tuned from.
            entry = self._entry(model.split(":")[1])
        return _family(str(entry.get("litellm_provider", ""))) or None if entry else None

    def names_of(self, provider: str) -> tuple[str, ...]:
        """The models of a provider, without its prefix; every entry is looked at, so this is nothing for each call."""
        found: dict[str, None] = {}
        for name, raw in self._entries.items():
            entry = msgspec.json.decode(raw, type=_Provided)
            if _family(entry.litellm_provider) == provider and name.count("/") <= 1:
                found[name.removeprefix(f"{provider}/")] = None
        return tuple(sorted(name for name in found if "/" not in name))

    def _entry(self, name: str) -> dict[str, Json] | None:
        raw = self._entries.get(name)
        return None if raw is None else msgspec.json.decode(raw, type=dict[str, Json])


def _pictures(entries: Mapping[str, msgspec.Raw]) -> dict[str, dict[str, str]]:
    """The names of entries by the model and then by quality and size, for those that have them."""
    found: dict[str, dict[str, str]] = {}
    for name in entries:
        if "-x-" in name and (match := _PICTURE.fullmatch(name)):
            found.setdefault(match[1] + match[3], {})[match[2]] = name
    return found


def _same(provider: str | None, entry: Mapping[str, Json]) -> bool:
    return provider is None or _family(str(entry.get("litellm_provider", ""))) == _family(provider)


def _family(provider: str) -> str:
    return _FAMILIES.get(provider) or _FAMILIES.get(provider.partition("-")[0], provider)
