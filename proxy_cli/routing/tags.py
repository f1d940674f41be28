"""Which deployments the tags of a request leave.

Owns LiteLLM's rules: a plain tag asks for deployments that carry it, `!tag` leaves those out that do, `&tag` leaves
only those that do; deployments tagged `default` serve whatever asks for nothing that is here. Tags of the caller's key
and team count as if they stood in the request. A deployment's patterns are matched with the `User-Agent: ...`.
Refuses to guess: what no deployment may serve is a 401.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from proxy_cli.errors import Unauthenticated
from proxy_cli.routing.rules import Rules
from proxy_cli.shapes import Call, Deployment, first_header

_DEFAULT: Final = "default"
_MOST_NAMED: Final = 20
# A caller may call himself anything, and a search takes a power of the length: at 8 KB seconds, here nothing.
_LONGEST_AGENT: Final = 256


class Wish(msgspec.Struct, frozen=True):
    """The tags of a request, sorted by what they ask for."""

    plain: frozenset[str]
    required: frozenset[str]
    excluded: frozenset[str]


def by_tags(call: Call, found: Sequence[Deployment], rules: Rules) -> Sequence[Deployment]:
    """The deployments that a request may use. Raises Unauthenticated when there are none."""
    wish = wished(_tags(call), found, rules.tag_prefix)
    rest = [each for each in found if wish.excluded.isdisjoint(each.tags) and wish.required.issubset(each.tags)]
    chosen = _preferred(call, wish, rest, any_tag=rules.any_tag) or _fallen_back(wish, found, rest)
    if not chosen:
        raise Unauthenticated(_refusal(call, found), code="no_deployments_with_tag_routing", param="tags")
    return chosen


def _tags(call: Call) -> tuple[str, ...]:
    """What the caller's key and team are tagged with, and what the request itself asks for."""
    return (*call.caller.tags, *call.controls.tags) if call.caller.tags else call.controls.tags


def wished(tags: Sequence[str], found: Sequence[Deployment], prefix: str) -> Wish:
    """What a request's tags ask for; with a prefix, tags without it count only where a deployment carries them."""
    if prefix:
        known = {tag for each in found for tag in each.tags}
        tags = [
            tag.removeprefix(prefix)
            for tag in tags
            if tag.startswith(prefix) or tag.removeprefix("!").removeprefix("&") in known
        ]
    return Wish(
        plain=frozenset(tag for tag in tags if tag[:1] not in ("!", "&")),
        required=frozenset(tag[1:] for tag in tags if tag.startswith("&")),
        excluded=frozenset(tag[1:] for tag in tags if tag.startswith("!")),
    )


def _preferred(call: Call, wish: Wish, rest: Sequence[Deployment], *, any_tag: bool) -> list[Deployment]:
    """Those that carry what is asked for, or whose patterns know the client."""
    if wish.required and not wish.plain:
        return []  # all that carry what is required are equal, whatever the client calls itself
    agent = first_header(call.headers, "user-agent")
    client = f"User-Agent: {agent[:_LONGEST_AGENT]}" if agent is not None else ""
    return [each for each in rest if _wants(each, wish.plain, any_tag=any_tag) or _knows(each, wish, client, any_tag)]


def _wants(deployment: Deployment, plain: frozenset[str], *, any_tag: bool) -> bool:
    if not plain:
        return False
    return not plain.isdisjoint(deployment.tags) if any_tag else plain.issubset(deployment.tags)


def _knows(deployment: Deployment, wish: Wish, client: str, any_tag: bool) -> bool:
    """Whether a pattern fits the client; where all tags must match, it does not stand in for one that is missing."""
    if not client or not deployment.tag_patterns or (wish.plain and deployment.tags and not any_tag):
        return False
    return any(pattern.search(client) for pattern in _patterns(deployment.tag_patterns))


def _fallen_back(wish: Wish, found: Sequence[Deployment], rest: Sequence[Deployment]) -> Sequence[Deployment]:
    """Those for requests that ask for nothing that is here: the default ones, else all that are for anybody."""
    defaults = [each for each in rest if _DEFAULT in each.tags]
    if defaults or wish.plain:
        return defaults
    if wish.required:
        return rest
    if any(_DEFAULT in each.tags for each in found):
        return []  # the default ones were all left out by `!`: the others are not for requests without tags
    return [each for each in rest if each.tags or not each.tag_patterns]


@lru_cache(256)
def _patterns(patterns: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    """The patterns that can be compiled; the others match nothing."""
    return tuple(pattern for text in patterns if (pattern := _compiled(text)) is not None)


def _compiled(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text)
    except re.error:
        return None


def _refusal(call: Call, found: Sequence[Deployment]) -> str:
    asked = ", ".join(repr(tag) for tag in _tags(call)[:_MOST_NAMED]) or "none"
    known = sorted({tag for each in found for tag in each.tags})
    named = ", ".join(repr(tag) for tag in known[:_MOST_NAMED]) or "none"
    more = ", …" if len(known) > _MOST_NAMED else ""
    return (
        f"no deployment of '{call.model}' may serve a request with these tags: {asked}; "
        f"its deployments have: {named}{more}; send one of those, or tag a deployment 'default'"
    )
