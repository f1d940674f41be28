"""Names to deployments: exact, alias, deployment id, wildcard, and the one model that answers to every name.

Pure: built once from resolved deployments, never changed. Hidden aliases resolve but are not listed or suggested.
"""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from proxy_cli.callers import ANYONE, Caller
from proxy_cli.errors import UnknownModel
from proxy_cli.shapes import Deployment

_EXPANSIONS_KEPT = 1024
# No model is called like that: a longer name is neither matched nor kept nor compared with the known ones.
_LONGEST_NAME = 1024
_MOST_COMPARED = 200
_BEGINNING = 3


@dataclass(frozen=True, slots=True)
class Alias:
    """Another name for a group; a hidden one is not listed."""

    target: str
    hidden: bool = False


By = Literal["name", "id", "wildcard", "any"]


@dataclass(frozen=True, slots=True)
class Resolution:
    """How a requested name leads to deployments: by what it is, and over which alias."""

    found: tuple[Deployment, ...]
    by: By
    group: str  # the model_name; of a wildcard its pattern
    alias_of: str | None = None


class Table:
    """Which deployments a requested name stands for."""

    def __init__(
        self,
        deployments: Sequence[Deployment],
        *,
        aliases: Mapping[str, Alias] | None = None,
        any_name: bool = False,
        expand: Callable[[Deployment, str], Deployment] | None = None,
    ) -> None:
        self.deployments = tuple(deployments)
        self._aliases = _straight(aliases or {})
        self._groups: dict[str, tuple[Deployment, ...]] = {}
        for deployment in deployments:
            self._groups[deployment.group] = (*self._groups.get(deployment.group, ()), deployment)
        self._exact = {name: group for name, group in self._groups.items() if "*" not in name}
        self._by_id = {deployment.id: (deployment,) for deployment in deployments}
        self._wildcards = _wildcards(self._groups)
        self.any_name = any_name  # one model serves under every requested name
        self._expand = expand or expanded
        self._has_owners = any(each.info.get("team_id") for each in deployments)
        self._match = lru_cache(_EXPANSIONS_KEPT)(self._matched)

    def find(self, name: str, caller: Caller = ANYONE) -> tuple[Deployment, ...]:
        """The deployments behind a name that a caller's team may use. Raises UnknownModel with the near names."""
        found = self.known(name)
        if self._has_owners:
            found = self.open_to(caller, found)
        if not found:
            raise UnknownModel(self._unknown(name), param="model")
        return found

    def known(self, name: str) -> tuple[Deployment, ...]:
        """The deployments behind a name, none where nobody has it; nothing is compared, so it may be asked often.

        Raises UnknownModel where a wildcard fits that no provider serves by this name.
        """
        alias = self._aliases.get(name)
        wanted = alias.target if alias else name
        found = self._exact.get(wanted) or self._by_id.get(wanted)
        if found is None and len(wanted) <= _LONGEST_NAME:
            found = self._match(wanted)
        return found or (self.deployments if self.any_name else ())

    def resolve(self, name: str) -> Resolution:
        """How `find` gets from a name to its deployments. Raises UnknownModel as it does."""
        found = self.find(name)
        alias = self._aliases.get(name)
        wanted = alias.target if alias else name
        if found is self._exact.get(wanted):
            by: By = "name"
        elif found is self._by_id.get(wanted):
            by = "id"
        else:
            by = "any" if found is self.deployments else "wildcard"
        return Resolution(found, by, found[0].group, alias.target if alias else None)

    def by_id(self, identity: str) -> Deployment | None:
        """The deployment with this id."""
        return next(iter(self._by_id.get(identity, ())), None)

    def knows(self, name: str) -> bool:
        """Whether `find` would answer."""
        try:
            return bool(self.known(name))
        except UnknownModel:
            return False

    def open_to(self, caller: Caller, found: Sequence[Deployment]) -> tuple[Deployment, ...]:
        """Those that a caller's team may use: a deployment with a `model_info.team_id` is that team's alone."""
        if not self._has_owners or caller.is_admin:
            return tuple(found)
        return tuple(each for each in found if each.info.get("team_id") in {None, "", caller.team_id})

    def is_open_to(self, caller: Caller, name: str) -> bool:
        """Whether a caller may use any deployment behind a name that is there."""
        return not self._has_owners or bool(self.open_to(caller, self.group_of(name) or self.find(name)))

    def words(self, name: str) -> frozenset[str]:
        """By what else a name may be allowed: the groups behind it, and the access groups that they are in."""
        try:
            found = self.known(name)
        except UnknownModel:
            return frozenset()
        words = {each.group for each in found}
        for each in found:
            words.update(str(group) for group in each.info.get("access_groups") or ())
        return frozenset(words)

    def names(self) -> list[str]:
        """Every name that is listed, in the order of the file; aliases last."""
        shown = [name for name, alias in self._aliases.items() if not alias.hidden]
        return list(dict.fromkeys([*self._groups, *shown]))

    def group_of(self, name: str) -> tuple[Deployment, ...]:
        """The deployments listed under a name, wildcards not expanded; empty when there are none."""
        alias = self._aliases.get(name)
        return self._groups.get(alias.target if alias else name, ())

    def _matched(self, name: str) -> tuple[Deployment, ...]:
        for parts, group in self._wildcards:
            if _fits(parts, name):
                return tuple(self._expand(deployment, name) for deployment in group)
        return ()

    def _unknown(self, name: str) -> str:
        known = self.names()
        if len(name) > _LONGEST_NAME:
            return f"the model's name is {len(name)} characters long; GET /v1/models lists the names"
        shown = name if len(name) <= 100 else f"{name[:100]}…"
        near = difflib.get_close_matches(name.lower(), _compared(name, known), n=3, cutoff=0.5)
        if not near:
            near = known if len(known) <= 5 else []
        # A request without a key to see the list still gets the near names: they are what a typo needs.
        cure = f"; did you mean {_spoken(near)}?" if near else "; GET /v1/models lists the names"
        return f"no model named {shown!r} is configured{cure}"


def _straight(aliases: Mapping[str, Alias]) -> dict[str, Alias]:
    """An alias of an alias stands for what that one stands for; a ring ends where it comes round."""
    found: dict[str, Alias] = {}
    for name, alias in aliases.items():
        passed = {name}
        target = alias.target
        while target in aliases and target not in passed:
            passed.add(target)
            target = aliases[target].target
        found[name] = replace(alias, target=target)
    return found


def _compared(name: str, known: Sequence[str]) -> Sequence[str]:
    """Those that a name is compared with: of many the ones that begin alike, for it holds up everybody else."""
    if len(known) <= _MOST_COMPARED:
        return known
    begins = name[:_BEGINNING].lower()
    return [each for each in known if each[:_BEGINNING].lower() == begins][:_MOST_COMPARED]


def _wildcards(groups: Mapping[str, tuple[Deployment, ...]]) -> list[tuple[list[str], tuple[Deployment, ...]]]:
    """What stands around the stars, the longest pattern first: the most specific wins."""
    starred = sorted((name for name in groups if "*" in name), key=lambda name: (-len(name), name))
    return [(name.split("*"), groups[name]) for name in starred]


def _fits(parts: Sequence[str], name: str) -> bool:
    """Whether a name holds these parts in their order, from end to end.

    In one walk: a regular expression of three stars takes seconds to find that a name does not fit.
    """
    first, *middle, last = parts
    at, end = len(first), len(name) - len(last)
    if not (name.startswith(first) and name.endswith(last)):
        return False
    for part in middle:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return at <= end


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile("(.*)".join(re.escape(part) for part in name.split("*")), re.DOTALL)


def expanded(deployment: Deployment, name: str) -> Deployment:
    """A wildcard deployment for one concrete name: what `*` stood for is put into the backend's model name."""
    return replace(deployment, model=captured(deployment.group, deployment.model, name))


def captured(pattern: str, model: str, name: str) -> str:
    """The backend's model name for a requested name: each `*` of the model takes what the pattern's `*` matched."""
    match = _pattern(pattern).fullmatch(name)
    if match is None or "*" not in model:
        return model
    pieces = list(match.groups())
    first, *rest = model.split("*")
    text = first
    for index, part in enumerate(rest):
        text += pieces[min(index, len(pieces) - 1)] + part
    return text


def _spoken(names: Sequence[str]) -> str:
    return " or ".join(repr(name) for name in names)
