"""Whose word counts for what an answer has used: the backend's, else the best guess there is.

The ladder: the usage that the backend gave with a whole answer (`provider`), what it had counted before the stream
broke off (`partial`), our own count of what was asked and what has come (`estimate`), what was reserved for the call
(`reserved`). The rule to keep: a zero that a backend sent is a count; a count that cannot be is none.
"""

from typing import Final, NamedTuple

import msgspec

from proxy_cli.prices.estimate import estimated, tokens_in
from proxy_cli.shapes import Call, Json, Operation, Usage
from proxy_cli.wire.usage import NEGATIVE, TEXT, TOO_LARGE, at_tier

PROVIDER, PARTIAL, ESTIMATE, RESERVED, NONE = "provider", "partial", "estimate", "reserved", "none"
MISSING: Final = "missing"
_LOST: Final = frozenset({NEGATIVE, TEXT, TOO_LARGE})  # problems for which a count may be gone
_IMAGES: Final = frozenset({Operation.IMAGE_GENERATIONS, Operation.IMAGE_EDITS, Operation.IMAGE_VARIATIONS})
_TEXTS: Final = frozenset({Operation.CHAT, Operation.COMPLETIONS})
_SEARCH: Final = "web_search_options"
_MOST_IMAGES: Final = 100
_MOST_ANSWERS: Final = 1024  # no backend takes as many
_LONGEST_WORD: Final = 16


class Counted(NamedTuple):
    """What an answer has used, None where no count of ours can say; and on whose word."""

    usage: Usage | None
    source: str


def counted(call: Call, usage: Usage | None, seen: tuple[int, int], *, whole: bool, reserved_nano: int = 0) -> Counted:
    """The ladder.

    `usage`: what the backend has counted; `seen`: the events and bytes that came; `whole`: the answer came to its end.
    Where the source is `reserved`, the price is what was reserved.
    """
    if usage is not None:
        if not usage.problem or usage.problem not in _LOST:
            if _SEARCH in call.fields and not usage.searches:
                usage = _searching(call, usage)
            return Counted(usage, PROVIDER if whole else PARTIAL)
        return _mended(call, usage, seen)
    guess = estimated(call, tokens_in(*seen))
    if guess is None:
        return Counted(None, RESERVED if reserved_nano else NONE)
    return Counted(msgspec.structs.replace(_with_terms(call, guess), problem=MISSING), ESTIMATE)


def asked_units(call: Call) -> Usage | None:
    """What is known of a call's use before it is sent, beside its tokens: tier, pictures, characters, searches.

    None, as for nearly every chat: nothing.
    """
    if call.operation is Operation.CHAT and "service_tier" not in call.fields and _SEARCH not in call.fields:
        return None
    if call.operation in _IMAGES:
        return _with_terms(call, Usage(images=_pictures(call), picture=_picture(call)))
    if call.operation is Operation.SPEECH:
        text = _value(call, "input")
        return _with_terms(call, Usage(characters=len(text) if isinstance(text, str) else 0))
    return _with_terms(call, Usage(queries=1) if call.operation is Operation.RERANK else Usage())


def answers(call: Call) -> int:
    """How many answers a call asks for, each of which may be as long as `max_tokens` says."""
    if call.operation not in _TEXTS:
        return 1
    many = max(_number(call, "n"), _number(call, "best_of")) if "n" in call.fields or "best_of" in call.fields else 1
    if call.operation is Operation.COMPLETIONS:
        prompts = _value(call, "prompt")
        if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int):  # else one prompt, as tokens
            many *= len(prompts)
    return many


def _number(call: Call, name: str) -> int:
    value = _value(call, name)
    return min(value, _MOST_ANSWERS) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 1


def _mended(call: Call, usage: Usage, seen: tuple[int, int]) -> Counted:
    """Of a usage that has lost a count: what is left of it, and a guess for the rest."""
    guess = estimated(call, tokens_in(*seen))
    if guess is None:
        return Counted(usage, ESTIMATE)
    prompt = usage.prompt_tokens or guess.prompt_tokens
    completion = usage.completion_tokens or guess.completion_tokens
    if (prompt, completion) == (usage.prompt_tokens, usage.completion_tokens):
        return Counted(usage, PROVIDER)
    return Counted(msgspec.structs.replace(usage, prompt_tokens=prompt, completion_tokens=completion), ESTIMATE)


def _with_terms(call: Call, usage: Usage) -> Usage:
    if "service_tier" in call.fields:
        usage = at_tier(usage, _value(call, "service_tier"))
    return _searching(call, usage) if _SEARCH in call.fields else usage


def _searching(call: Call, usage: Usage) -> Usage:
    """A model that is told how to search the web searches once for each answer, unless its backend counts that."""
    options = _value(call, _SEARCH)
    if not isinstance(options, dict):
        return usage
    return msgspec.structs.replace(usage, searches=1, search_size=_word(options.get("search_context_size")))


def _pictures(call: Call) -> int:
    count = _value(call, "n")
    if isinstance(count, str) and count.isdecimal() and len(count) <= _LONGEST_WORD:
        count = int(count)  # a form's field
    return min(count, _MOST_IMAGES) if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 1


def _picture(call: Call) -> str:
    made = "/".join(_word(_value(call, name)) for name in ("quality", "size"))
    return "" if made == "/" else made


def _word(value: Json) -> str:
    return value if isinstance(value, str) and len(value) <= _LONGEST_WORD else ""


def _value(call: Call, name: str) -> Json:
    raw = call.fields.get(name)
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
