"""The body that a backend gets: the caller's bytes, but for the few top-level fields that must differ.

It owns what is set, renamed and left out, and in which order that is decided. Nothing is decoded that is not changed.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from proxy_cli.providers.catalog import ROWS
from proxy_cli.providers.parameters import left_out, renames
from proxy_cli.providers.prompting import prompts_tools
from proxy_cli.shapes import BodySource, Call, Deployment, Json, Operation
from proxy_cli.wire.request import wants_usage
from proxy_cli.wire.skeleton import Spanned
from proxy_cli.wire.splice import Spliced, edit, encode, is_null
from proxy_cli.wire.toolprompt import TOOL_FIELDS, to_prompt

_STREAM_USAGE: Final = frozenset({Operation.CHAT, Operation.COMPLETIONS})
_TOOLS: Final = frozenset(TOOL_FIELDS)
_LIMITS: Final = frozenset({"max_tokens", "max_completion_tokens", "max_output_tokens"})

# Where `--temperature` and `--max_tokens` have a meaning, and what the limit is called there.
_LIMIT_OF: Final = {
    Operation.CHAT: "max_tokens",
    Operation.COMPLETIONS: "max_tokens",
    Operation.RESPONSES: "max_output_tokens",
}
_STEP: Final = re.compile(r"\[(\*|\d+)\]|\.?([^.\[\]]+)")

Changes = dict[str, bytes | None]


def request_body(call: Call, deployment: Deployment, *, ask_usage: bool) -> bytes | BodySource:
    """The body to send. Raises UnsupportedParameter, or InvalidRequest for tools that are none."""
    if not isinstance(call.body, bytes):
        return call.body.rewritten(deployment.model, _form_fields(deployment.defaults))
    changes = _changes(call, deployment, ask_usage=ask_usage)
    if deployment.add_function_to_prompt and prompts_tools(call, deployment):
        return edit(to_prompt(call.body), changes)
    if isinstance(call.fields, Spanned):
        return Spliced(call.body, changes, call.fields)
    return edit(call.body, changes, call.fields)


def adds_stream_usage(call: Call) -> bool:
    """Whether `stream_options` is in a request only because we want the usage; the caller has none of his own."""
    return call.stream and call.operation in _STREAM_USAGE and is_null(call.fields.get("stream_options"))


class _Usual:
    """What is the same in the body of every call to one deployment."""

    __slots__ = ("changes", "renames", "special")

    def __init__(self, deployment: Deployment) -> None:
        self.changes: Changes = {"model": encode(deployment.model)}
        self.renames = renames(deployment, ROWS.get(deployment.provider))
        # The fields whose presence takes a closer look; None where every call does.
        self.special: frozenset[str] | None = None
        if not (deployment.defaults or deployment.forced or deployment.additional_drop_params):
            tools = _TOOLS if deployment.add_function_to_prompt and not deployment.takes_tools else frozenset()
            self.special = deployment.refuses.union(tools, (ours for ours, _ in self.renames))


def _changes(call: Call, deployment: Deployment, *, ask_usage: bool) -> Changes:
    usual = deployment.worked_out.get(_Usual)
    if usual is None:
        usual = deployment.worked_out[_Usual] = _Usual(deployment)
    if usual.special is not None and not call.controls.present and usual.special.isdisjoint(call.fields):
        return _asking_usage(usual.changes, call) if ask_usage and call.stream else usual.changes
    return _particular_changes(call, deployment, usual, ask_usage=ask_usage)


def _particular_changes(call: Call, deployment: Deployment, usual: _Usual, *, ask_usage: bool) -> Changes:
    changes = dict(usual.changes)
    for name in call.controls.present:
        changes[name] = None
    if deployment.defaults:
        _add_defaults(changes, call, deployment.defaults)
    if deployment.forced and call.operation in _LIMIT_OF:
        _force(changes, call, deployment.forced)
    for name in left_out(call, deployment):
        _omit(changes, call, name)
    for name, theirs in usual.renames:
        _rename(changes, call, name, theirs)
    if ask_usage and call.stream:
        changes = _asking_usage(changes, call)
    for path in (*deployment.additional_drop_params, *call.controls.additional_drop_params):
        _drop(changes, call, path)
    return changes


def _asking_usage(changes: Changes, call: Call) -> Changes:
    """The changes, with the usage asked for where the caller of a stream does not do so himself."""
    # Not by call.wants_usage: a setting may want it for a caller who has not asked.
    if call.operation not in _STREAM_USAGE or wants_usage(call.fields):
        return changes
    return {**changes, "stream_options": _with_usage(call.fields.get("stream_options"))}


def _add_defaults(changes: Changes, call: Call, defaults: Mapping[str, Json]) -> None:
    limited = not _LIMITS.isdisjoint(call.fields)
    for name, value in defaults.items():
        # A caller's limit under its other name is his limit all the same.
        if name not in call.fields and not (limited and name in _LIMITS):
            changes[name] = encode(value)


def _force(changes: Changes, call: Call, forced: Mapping[str, Json]) -> None:
    for name, value in forced.items():
        if name == "max_tokens":
            name = _LIMIT_OF[call.operation]  # noqa: PLW2901 - the same limit, as this endpoint calls it
            for other in _LIMITS - {name}:
                _omit(changes, call, other)
        changes[name] = encode(value)


def _omit(changes: Changes, call: Call, name: str) -> None:
    """Leave a field out, if it is there: a change that changes nothing would still cost a walk through the body."""
    if name in call.fields or name in changes:
        changes[name] = None


def _rename(changes: Changes, call: Call, name: str, theirs: str) -> None:
    """Call a field as the target does; a caller who has done so already is left alone."""
    if name in changes:
        value = changes[name]
    else:
        raw = call.fields.get(name)
        value = None if is_null(raw) or raw is None else bytes(raw)
    if value is None:
        return
    changes[name] = None
    if theirs not in call.fields and changes.get(theirs) is None:
        changes[theirs] = value


def _with_usage(raw: msgspec.Raw | None) -> bytes:
    if raw is None or is_null(raw):
        return b'{"include_usage":true}'
    return edit(bytes(raw), {"include_usage": b"true"})


def _drop(changes: Changes, call: Call, path: str) -> None:
    """Leave a field out, or what a path like `tools[*].strict` names inside of one."""
    steps = [(index, name) for index, name in _STEP.findall(path)]
    if not steps or not (name := steps[0][1]) or name == "model":
        return
    raw = changes.get(name) or (bytes(call.fields[name]) if name in call.fields and name not in changes else None)
    if len(steps) == 1:
        _omit(changes, call, name)
    elif raw is not None:
        value = msgspec.json.decode(raw)
        _remove(value, steps[1:])
        changes[name] = encode(value)


def _remove(value: Json, steps: list[tuple[str, str]]) -> None:
    """Take what the steps lead to out of a value; where they lead nowhere, nothing happens."""
    (index, name), *further = steps
    match value:
        case dict() if name:
            if not further:
                value.pop(name, None)
            elif name in value:
                _remove(value[name], further)
        case list() if index:
            chosen = range(len(value)) if index == "*" else range(int(index), min(int(index) + 1, len(value)))
            if further:
                for number in chosen:
                    _remove(value[number], further)
            else:
                del value[chosen.start : chosen.stop]


def _form_fields(defaults: Mapping[str, Json]) -> dict[str, str]:
    """Defaults as a form's fields: text as it is, all else as JSON writes it."""
    return {name: value if isinstance(value, str) else encode(value).decode() for name, value in defaults.items()}
