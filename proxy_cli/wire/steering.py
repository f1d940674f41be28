"""The fields and headers of a request that steer us and are not for the backend: LiteLLM's request controls.

Owns: their names, their types, and the reading of fallbacks in each of their shapes. The body's own word wins over a
header's; tags of both are joined. Rule: one that we use and cannot read is refused, one that does nothing yet is named,
so that none is passed over in silence.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from proxy_cli.errors import InvalidRequest
from proxy_cli.shapes import NO_CONTROLS, Controls, Fields, Headers, Target, Targets
from proxy_cli.wire.members import FIELDS_DECODER
from proxy_cli.wire.splice import is_null
from proxy_cli.wire.values import (
    LONGEST_S,
    count,
    flag,
    names,
    read,
    seconds,
    text,
    texts,
    unreadable,
    value_of,
    wrong_type,
)

EXPLAIN_HEADER: Final = "x-llmproxy-explain"
MOST_RETRIES: Final = 100
MOST_FALLBACKS: Final = 100
MOST_TARGETS: Final = 100  # names in one list of fallbacks
LAST_PRIORITY: Final = 255
MOCK_FAILURES: Final = frozenset(
    {
        "mock_testing_content_policy_fallbacks",
        "mock_testing_context_fallbacks",
        "mock_testing_fallbacks",
        "mock_testing_rate_limit_error",
    }
)
HONOURED: Final = MOCK_FAILURES | {
    "additional_drop_params",
    "allowed_model_region",
    "allowed_openai_params",
    "content_policy_fallbacks",
    "context_window_fallback_dict",
    "context_window_fallbacks",
    "disable_fallbacks",
    "drop_params",
    "fallbacks",
    "litellm_session_id",
    "max_fallbacks",
    "mock_response",
    "num_retries",
    "priority",
    "stream_timeout",
    "tags",
    "timeout",
}
UNUSED: Final = frozenset(
    {
        "cache",
        "guardrails",
        "litellm_call_id",
        "litellm_trace_id",
        "no-log",
        "prompt_id",
        "prompt_variables",
        "prompt_version",
        "router_settings_override",
    }
)
_OURS: Final = HONOURED | UNUSED | {"litellm_metadata"}
_PERHAPS: Final = _OURS | {"metadata"}
_NOT_OF_A_FALLBACK: Final = _OURS | {"stream", "stream_options"}
_ANY: Final = "*"
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_SHAPE: Final = "a list of names, or of objects with a 'model'"
_MAP_SHAPE: Final = 'a list of objects such as {"model": ["other model"]}'


def controls(fields: Fields, model: str = "") -> Controls:
    """What the steering fields of a request for a model say. Raises InvalidRequest for one that cannot be read."""
    if _PERHAPS.isdisjoint(fields):
        return NO_CONTROLS
    metadata = _of_a_proxy(fields)
    present = tuple(name for name in fields if name in _OURS or name in metadata)
    if not present:
        return NO_CONTROLS
    return Controls(
        timeout_s=seconds(fields, "timeout"),
        stream_timeout_s=seconds(fields, "stream_timeout"),
        drop_params=None if is_null(fields.get("drop_params")) else flag(fields, "drop_params"),
        additional_drop_params=names(fields, "additional_drop_params"),
        allowed_openai_params=frozenset(names(fields, "allowed_openai_params")),
        retries=count(fields, "num_retries", MOST_RETRIES),
        fallbacks=_fallbacks(fields, model),
        context_window_fallbacks=_for_long_prompts(fields),
        content_policy_fallbacks=_by_name(fields, "content_policy_fallbacks"),
        max_fallbacks=count(fields, "max_fallbacks", MOST_FALLBACKS),
        no_fallbacks=flag(fields, "disable_fallbacks"),
        priority=count(fields, "priority", LAST_PRIORITY),
        tags=_tags(fields, metadata),
        region=text(fields, "allowed_model_region") or None,
        mock_failures=frozenset(name for name in present if name in MOCK_FAILURES and flag(fields, name)),
        mock_response=read(fields, "mock_response") if "mock_response" in fields else None,
        present=present,
        unused=tuple(name for name in present if name in UNUSED),
    )


def _of_a_proxy(fields: Fields) -> dict[str, dict[str, Any]]:
    """What stands in `litellm_metadata`, and in a `metadata` that is LiteLLM's and not the backend's."""
    found = {}
    for name in ("metadata", "litellm_metadata"):
        value = read(fields, name) if name in fields else None
        # OpenAI's holds strings only.
        own = name == "litellm_metadata" or (isinstance(value, dict) and _has_more_than_texts(value))
        if own and isinstance(value, dict):
            found[name] = value
        elif own and value is not None:
            raise wrong_type(name, "an object", value)
    return found


def _has_more_than_texts(metadata: Mapping[str, Any]) -> bool:
    return not all(isinstance(each, str) for each in metadata.values())


def _tags(fields: Fields, metadata: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """All tags of a request, each once."""
    found = list(names(fields, "tags"))
    for name, value in metadata.items():
        found += texts(value.get("tags"), f"{name}.tags")
    return tuple(dict.fromkeys(found))


def _fallbacks(fields: Fields, model: str) -> tuple[Target, ...] | None:
    """The names to ask instead; where they are told by name, those of this model or of any."""
    raw = fields.get("fallbacks")
    if raw is None or is_null(raw):
        return None
    entries = _entries(raw, "fallbacks", _SHAPE)
    if len(entries) > MOST_TARGETS:
        raise _too_many("fallbacks")
    if entries and all(map(_is_by_name, entries)):
        found = _by_name(fields, "fallbacks") or {}
        return found.get(model) or found.get(_ANY) or ()
    return tuple(_target(each, f"fallbacks[{index}]") for index, each in enumerate(entries))


def _is_by_name(raw: msgspec.Raw) -> bool:
    """Whether an entry says `{"model": ["other model"]}`, as the configuration does."""
    if bytes(raw)[:1] != b"{":
        return False
    members = FIELDS_DECODER.decode(raw)
    return bool(members) and all(bytes(value)[:1] == b"[" for value in members.values())


def _by_name(fields: Fields, name: str) -> Targets | None:
    raw = fields.get(name)
    if raw is None or is_null(raw):
        return None
    found: dict[str, tuple[Target, ...]] = {}
    seen = 0
    for index, entry in enumerate(_entries(raw, name, _MAP_SHAPE)):
        for source, targets in _members(entry, f"{name}[{index}]", "an object").items():
            path = f"{name}[{index}].{source}"
            steps = _entries(targets, path, _SHAPE)
            seen += len(steps)
            if seen > MOST_TARGETS:
                raise _too_many(name)
            found[source] = (
                *found.get(source, ()),
                *(_target(each, f"{path}[{step}]") for step, each in enumerate(steps)),
            )
    return found


def _for_long_prompts(fields: Fields) -> Targets | None:
    """`context_window_fallbacks`, and for other names `context_window_fallback_dict`."""
    found = _by_name(fields, "context_window_fallbacks")
    longer = read(fields, "context_window_fallback_dict")
    if longer is None:
        return found
    if not isinstance(longer, dict) or not all(isinstance(each, str) for each in longer.values()):
        raise wrong_type("context_window_fallback_dict", "an object of names", longer)
    return {**{name: (Target(other),) for name, other in longer.items()}, **(found or {})}


def _too_many(name: str) -> InvalidRequest:
    """Each of them may be an attempt of its own, so that one request would make the work of thousands."""
    message = f"'{name}' names more than {MOST_TARGETS} models to ask instead; send fewer"
    return InvalidRequest(message, code="invalid_value", param=name)


def _target(raw: msgspec.Raw, path: str) -> Target:
    value = value_of(raw, path)
    if isinstance(value, str) and value:
        return Target(value)
    if not isinstance(value, dict) or not isinstance(value.get("model"), str) or not value["model"]:
        raise wrong_type(path, "a name, or an object with a 'model'", value)
    members = _members(raw, path, "an object")
    for name in members:
        if name in _NOT_OF_A_FALLBACK:
            message = f"'{path}.{name}' holds for the whole request; set it beside 'fallbacks'"
            raise InvalidRequest(message, code="invalid_value", param=f"{path}.{name}")
    del members["model"]
    return Target(value["model"], members)


def _entries(raw: msgspec.Raw, path: str, shape: str) -> list[msgspec.Raw]:
    try:
        return _LIST.decode(raw)
    except msgspec.ValidationError:
        raise wrong_type(path, shape, value_of(raw, path)) from None
    except (msgspec.DecodeError, RecursionError):
        raise unreadable(path) from None


def _members(raw: msgspec.Raw, path: str, shape: str) -> Fields:
    try:
        return FIELDS_DECODER.decode(raw)
    except msgspec.ValidationError:
        raise wrong_type(path, shape, value_of(raw, path)) from None
    except (msgspec.DecodeError, RecursionError):
        raise unreadable(path) from None


def with_headers(found: Controls, headers: Headers) -> Controls:
    """The same, with what the headers say of what the body left open. Raises InvalidRequest, naming the header."""
    # Asked for every request: most have none of these.
    for name, _ in headers:
        if name in _BY_HEADER:
            return _with_headers(found, headers)
    return found


def _with_headers(found: Controls, headers: Headers) -> Controls:
    tags = list(found.tags)
    for name, value in headers:
        if name == _TAGS_HEADER:
            tags += [tag for each in value.split(",") if (tag := each.strip())]
        elif name == EXPLAIN_HEADER:
            found = replace(found, explain=_switch(name, value))
        elif (control := _BY_HEADER.get(name)) is not None:
            field, reader = control
            if getattr(found, field) is None:
                read_value: dict[str, Any] = {field: reader(name, value)}
                found = replace(found, **read_value)
    return replace(found, tags=tuple(dict.fromkeys(tags)))


def _number(name: str, value: str, wanted: str, *, most: float, zero: bool = True) -> float:
    try:
        amount = float(value)
    except ValueError:
        amount = -1.0
    # So that no comparison holds for what is not a number at all.
    if 0 < amount <= most or (zero and amount == 0):
        return amount
    raise InvalidRequest(f"the header {name} must be {wanted}", code="invalid_value", param=name)


def _switch(name: str, value: str) -> bool:
    if (word := value.strip().lower()) not in _SWITCHES:
        raise InvalidRequest(f"the header {name} must be 1 or 0", code="invalid_value", param=name)
    return _SWITCHES[word]


def asks_to_explain(headers: Headers) -> bool:
    """Whether a request that could not be read asks for a dry run."""
    return any(name == EXPLAIN_HEADER and _SWITCHES.get(value.strip().lower(), False) for name, value in headers)


def _limit(name: str, value: str) -> float:
    return _number(name, value, "a number of seconds above 0", most=LONGEST_S, zero=False)


def _interval(name: str, value: str) -> float:
    return _number(name, value, "a number of seconds, 0 or more", most=LONGEST_S)


def _retries(name: str, value: str) -> int:
    return _whole(name, value, MOST_RETRIES)


def _priority(name: str, value: str) -> int:
    return _whole(name, value, LAST_PRIORITY)


def _whole(name: str, value: str, most: int) -> int:
    # Neither signs nor blanks, underscores or other scripts' digits, all of which int() takes.
    digits = value if value.isascii() and value.isdigit() else ""
    return int(_number(name, digits, f"a whole number from 0 to {most}", most=most))


_SWITCHES: Final = {"1": True, "true": True, "0": False, "false": False}
_TAGS_HEADER: Final = "x-litellm-tags"
_BY_HEADER: Final[Mapping[str, tuple[str, Callable[[str, str], float]]]] = {
    "x-litellm-timeout": ("timeout_s", _limit),
    "x-litellm-stream-timeout": ("stream_timeout_s", _limit),
    "x-litellm-num-retries": ("retries", _retries),
    "x-litellm-priority": ("priority", _priority),
    "x-litellm-keepalive-seconds": ("heartbeat_s", _interval),
    # These two have readers of their own; they stand here to be seen.
    _TAGS_HEADER: ("tags", _limit),
    EXPLAIN_HEADER: ("explain", _limit),
}
