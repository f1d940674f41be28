"""Which models a caller may ask for, and what his own names for them mean.

Pure. A name is judged after the caller's alias for it is resolved, so that an alias opens nothing. The names that a
request brings along for the case of failure are judged as well. A refusal names what was asked for, and not what there
is beside it.
"""

from collections.abc import Callable, Collection, Iterable
from itertools import chain
from typing import Final

import msgspec

from proxy_cli.access.grants import Names, allows
from proxy_cli.callers import Caller
from proxy_cli.errors import ModelDenied
from proxy_cli.shapes import Call, Controls, Target

Words = Callable[[str], Collection[str]]  # by what else a model is known: its group, and its access groups

_LONGEST_SHOWN: Final = 100


def may_ask(caller: Caller, name: str, words: Words) -> bool:
    """Whether a caller may ask for a model by this name, which is no alias of his own."""
    return _first_refusing(caller, name, words) is None


def model_for(caller: Caller, name: str, words: Words, *, status: int = 403) -> str:
    """What a name means to a caller. Raises ModelDenied."""
    meant = caller.aliases.get(name, name)
    if (names := _first_refusing(caller, meant, words)) is not None:
        raise _refusal(caller, name, names, status)
    return meant


def admitted(call: Call, words: Words, *, status: int = 403) -> Call:
    """A call with its model's name resolved, and every name it brings along allowed. Raises ModelDenied."""
    caller = call.caller
    if not caller.models and not caller.aliases:
        return call
    meant = model_for(caller, call.model, words, status=status)
    for target in further(call.controls):
        if (names := _first_refusing(caller, target.model, words)) is not None:
            raise _refusal(caller, target.model, names, status)
    if meant == call.model:
        return call
    return msgspec.structs.replace(call, model=meant, named=call.shown_model)


def _first_refusing(caller: Caller, name: str, words: Words) -> frozenset[str] | None:
    for names in caller.models:
        if not allows(names, name) and not any(allows(names, word) for word in words(name)):
            return names
    return None


def further(controls: Controls) -> Iterable[Target]:
    """The models that a request brings along for the case of failure."""
    maps = (controls.context_window_fallbacks, controls.content_policy_fallbacks)
    return chain(controls.fallbacks or (), *(targets for each in maps if each for targets in each.values()))


def _refusal(caller: Caller, name: str, names: frozenset[str], status: int) -> ModelDenied:
    whose = names.whose if isinstance(names, Names) else "key"
    shown = name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}…"
    allowed = ", ".join(sorted(names)[:10]) + (" and more" if len(names) > 10 else "")
    who = {"key": "this key", "team": f"the team {caller.team_alias or caller.team_id!r}", "user": "this key's user"}
    of = who.get(whose, f"this key's {whose}")
    return ModelDenied(
        f"{whose} not allowed to access model. {of[0].upper()}{of[1:]} may not ask for {shown!r}; allowed: {allowed}",
        kind=f"{whose}_model_access_denied",
        status=status,
    )
