"""What is said of a body that an endpoint cannot take.

Owns: the sentences for a field of another kind, for one that is missing, and for one that is misspelt. Refuses: to know
what any field means. Rule: the answer names the field and says what would be right, in words of JSON and of no
programming language. Unknown fields pass, for LiteLLM's clients send some; but a limit that is misspelt would be a key
without that limit, so it is refused.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import inspect

from proxy_cli.errors import Unprocessable
from proxy_cli.shapes import Json

_KINDS: Final[Mapping[str, str]] = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_OTHER_KIND: Final = re.compile(r"Expected `([a-z |]+)`, got `([a-z]+)`")
_MISSING: Final = re.compile(r"Object missing required field `(\w+)`")
_NO_WORD: Final = re.compile(r"Invalid enum value (.*)")
_BOUND: Final = re.compile(r"Expected `(?:int|float)` ([<>]=) (\S+)")
_LENGTH: Final = re.compile(r"Expected `(str|array)` of length ([<>]=) (\d+)")
_STEPS: Final = re.compile(r"[.\[\]]+")
# Fields whose loss would allow more than was meant.
_GUARDING: Final = re.compile(r"budget|limit|duration|parallel|models|allowed|blocked")
_CLOSE_ENOUGH: Final = 0.85
_OTHERS: Final = frozenset({"tpd_limit"})  # LiteLLM's, and near to one of ours


def bad_field(message: str, kind: type[msgspec.Struct]) -> Unprocessable:
    """msgspec's sentence, which names kinds and the place, as ours."""
    what, _, place = message.partition(" - at `$")
    field = place.rstrip("`").lstrip(".")
    if missing := _MISSING.fullmatch(what):
        field = ".".join(filter(None, (field, missing[1])))
        return Unprocessable(f"{field} is missing; send it", param=field)
    return Unprocessable(f"{field or 'body'}: {_sentence(what, kind, field)}", param=field or "body")


def _sentence(what: str, kind: type[msgspec.Struct], field: str) -> str:
    if other := _OTHER_KIND.fullmatch(what):
        wanted = " or ".join(_KINDS.get(each, each) for each in other[1].split(" | "))
        return f"{_KINDS.get(other[2], other[2])} is not taken here; give {wanted}"
    if word := _NO_WORD.fullmatch(what):
        known = _words(inspect.type_info(kind), [each for each in _STEPS.split(field) if each])
        return f"{word[1]} is not known; give one of {', '.join(map(str, known))}"
    if bound := _BOUND.fullmatch(what):
        return f"give a number of {_plain(bound[2])} or {'more' if bound[1] == '>=' else 'less'}"
    if length := _LENGTH.fullmatch(what):
        unit = "characters" if length[1] == "str" else "entries"
        return f"give {'at most' if length[2] == '<=' else 'at least'} {length[3]} {unit}"
    return f"{what[:1].lower()}{what[1:]}; see GET /openapi.json"


def _plain(number: str) -> str:
    return f"{float(number):.0f}"


def _words(info: inspect.Type, steps: Sequence[str]) -> Sequence[Json]:
    """The words that a field takes, found along the place that msgspec names."""
    match info:
        case inspect.LiteralType(values=values):
            return values
        case inspect.UnionType(types=types):
            return next((found for each in types if (found := _words(each, steps))), ())
        case inspect.ListType(item_type=item) if steps:
            return _words(item, steps[1:])
        case inspect.StructType(fields=fields) if steps:
            return next((_words(each.type, steps[1:]) for each in fields if each.encode_name == steps[0]), ())
    return ()


def refuse_misspelt(sent: Iterable[str], known: Sequence[str]) -> None:
    """Refuse a field that nobody knows and that is nearly the name of a limit. Raises Unprocessable."""
    strange = [name for name in sent if name not in known and name not in _OTHERS]
    if not strange:
        return
    guarding = [name for name in known if _GUARDING.search(name)]
    for name in strange:
        near = difflib.get_close_matches(name[:80], guarding, n=1, cutoff=_CLOSE_ENOUGH)
        if near:
            raise Unprocessable(f"there is no field {name[:80]!r}; did you mean {near[0]!r}?", param=name[:80])
