"""What the rules make of one call, told and not done: its limits, and the names that would be asked in turn.

Owns: the words for both. Refuses: to decide anything; it asks the functions that serve, and reads the fleet's figures.
Rule: reads only, so that telling what would become of a call changes nothing for those that are really made.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from proxy_cli.errors import GatewayError, forget_frames
from proxy_cli.routing.estimates import tokens
from proxy_cli.routing.fallbacks import Way, Ways, redirected
from proxy_cli.routing.fleet import State
from proxy_cli.routing.kinds import Kind
from proxy_cli.routing.rules import Rules
from proxy_cli.routing.table import Table
from proxy_cli.shapes import Call, Deployment

# The failures that lead to different names: those with fallbacks of their own, and all others.
KINDS: Final = {"any": Kind.INTERNAL, "context_window": Kind.CONTEXT_WINDOW, "content_policy": Kind.CONTENT_POLICY}


class Limit(msgspec.Struct, frozen=True):
    """One limit of a deployment: how much it is, and how much of it is in use."""

    name: str
    limit: int
    in_use: int

    @property
    def free(self) -> int:
        """What is left of it."""
        return max(self.limit - self.in_use, 0)


class Next(msgspec.Struct, frozen=True):
    """A name that would be asked after another one has failed; `why_not`: it would be passed over."""

    model: str
    fields: tuple[str, ...] = ()  # of the body that are different there
    why_not: str = ""


def limits(deployment: Deployment, state: State) -> tuple[Limit, ...]:
    """The limits that a deployment has, with what all processes use of them now."""
    found = []
    if deployment.max_parallel is not None:
        found.append(Limit("max_parallel_requests", deployment.max_parallel, state.all_in_flight()))
    if deployment.rpm is not None:
        found.append(Limit("rpm", deployment.rpm, int(state.requests_in_minute())))
    if deployment.tpm is not None:
        found.append(Limit("tpm", deployment.tpm, int(state.tokens_in_minute())))
    return tuple(found)


def chain(kind: Kind, call: Call, group: str, table: Table, rules: Rules) -> tuple[Next, ...]:
    """The names that would be asked in turn if every one of them failed in the same way."""
    ways = Ways(call, rules)
    ways.open(kind, call.model, group, 0)
    told = []
    while (way := ways.next()) is not None:
        told.append(_told(way, call, table))
        if not told[-1].why_not:
            found = table.find(way.target.model)
            ways.open(kind, way.target.model, found[0].group, way.depth)
    return tuple(told)


def _told(way: Way, call: Call, table: Table) -> Next:
    """One of them, and why it is passed over where it is."""
    target = way.target
    try:
        redirected(call, target)
        table.find(target.model)
    except GatewayError as refusal:
        forget_frames(refusal)
        return Next(target.model, tuple(target.fields), refusal.message)
    return Next(target.model, tuple(target.fields))


def has_place(call: Call, deployment: Deployment, found: Sequence[Limit], waiting: int) -> bool:
    """Whether a deployment with these limits would take the call at once: nobody waits, and it fits."""
    if not found:
        return True
    needed = {"tpm": min(tokens(call, deployment), deployment.tpm or 0)}
    return not waiting and all(each.free >= needed.get(each.name, 1) for each in found)
