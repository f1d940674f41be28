"""Tools for models that have none: described in the prompt, called in text, and handed back as real tool calls.

Owns: the words that the model is given, what becomes of tool messages in the history, the way back of whole replies.
What a call looks like in text is known by toolcalls.py; event streams are read by toolstream.py.
Refuses: tools that are not what OpenAI's API calls tools (400, naming the field).
"""

import hashlib
from typing import Final

import msgspec

from proxy_cli.errors import InvalidRequest
from proxy_cli.shapes import Fields, Json
from proxy_cli.wire.splice import decoded, edit, encode, is_null, object_fields
from proxy_cli.wire.toolcalls import CallText, ToolCall

TOOL_FIELDS: Final = ("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call")

# What a value may raise whose bytes are JSON, but not of a kind that can be held: 1e999, a broken character, depth.
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_RAW_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_FORM: Final = '{"tool_calls": [{"name": "<name of the tool>", "arguments": {<its arguments>}}]}'
_PROMPT: Final = """\
You can call tools. Each line describes one tool, with the JSON Schema of its arguments:
{tools}

To call a tool, or several at once, answer with this JSON object and nothing else:
{form}
The results come in the next message. {choice}"""
_AUTO: Final = "If no tool is needed, answer in plain words."
_REQUIRED: Final = "You must call at least one tool now."
_NAMED: Final = "You must call the tool {name} now."


def to_prompt(body: bytes) -> bytes:
    """The chat request without tool fields: their content stands in its messages. Raises InvalidRequest."""
    fields = object_fields(body)
    if fields is None or "messages" not in fields:
        return body
    try:
        messages = _without_tool_messages(_list(fields, "messages"))
        if prompt := _prompt(fields):
            messages = _with_system(messages, prompt)
    except _UNREADABLE:
        raise _unreadable() from None
    changes: dict[str, bytes | None] = {name: None for name in TOOL_FIELDS if name in fields}
    return edit(body, changes | {"messages": encode(messages)}, fields)


def tool_names(fields: Fields) -> frozenset[str]:
    """The names of the tools that a request offers. Raises InvalidRequest."""
    try:
        return frozenset(function["name"] for function in _functions(fields))
    except _UNREADABLE:
        raise _unreadable() from None


def is_legacy(fields: Fields) -> bool:
    """Whether a request speaks of functions, as before there were tools; the answer must do so too."""
    return is_null(fields.get("tools")) and not is_null(fields.get("functions"))


def from_reply(body: bytes, names: frozenset[str] | None = None, *, legacy: bool = False) -> bytes:
    """The reply with the calls in its text as `tool_calls` (or `function_call`); without any, the same bytes."""
    fields = object_fields(body)
    if fields is None or "choices" not in fields:
        return body
    try:
        choices = _RAW_LIST.decode(fields["choices"])
    except msgspec.DecodeError:
        return body
    # Made of the reply's own id: the same reply always gives the same ids, and no two replies the same.
    seed = bytes(fields.get("id", b"")) + (b"" if "id" in fields else body)
    changed = [_reply_choice(bytes(choice), names, seed + b"%d" % at, legacy) for at, choice in enumerate(choices)]
    if all(new is None for new in changed):
        return body
    pieces = [bytes(old) if new is None else new for old, new in zip(choices, changed, strict=True)]
    return edit(body, {"choices": b"[" + b",".join(pieces) + b"]"}, fields)


def call_fields(calls: list[ToolCall], seed: bytes, *, legacy: bool, first: int | None = None) -> dict[str, bytes]:
    """The calls as members of a message, or of a delta, whose calls are numbered from `first`."""
    if legacy:
        return {"function_call": encode({"name": calls[0].name, "arguments": calls[0].arguments})}
    listed = []
    for number, call in enumerate(calls, first or 0):
        index = {} if first is None else {"index": number}
        function = {"name": call.name, "arguments": call.arguments}
        listed.append(index | {"id": _id(seed, number), "type": "function", "function": function})
    return {"tool_calls": encode(listed)}


def finish_reason(raw: msgspec.Raw | None, *, legacy: bool) -> bytes:
    """Why an answer with calls has ended: for the calls, unless it was cut or filtered."""
    if raw is not None and bytes(raw) in {b'"length"', b'"content_filter"'}:
        return bytes(raw)
    return b'"function_call"' if legacy else b'"tool_calls"'


def text_of(fields: Fields, name: str) -> str | None:
    """A field's text; None for anything else."""
    try:
        value = decoded(fields[name]) if name in fields else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return value if isinstance(value, str) else None


def _reply_choice(choice: bytes, names: frozenset[str] | None, seed: bytes, legacy: bool) -> bytes | None:
    fields = object_fields(choice)
    message = object_fields(bytes(fields["message"])) if fields and "message" in fields else None
    content = text_of(message, "content") if message else None
    if fields is None or message is None or not content:
        return None
    machine = CallText(names)
    said = (machine.feed(content) + machine.end()).strip()
    if not machine.calls:
        return None
    changes = {"content": encode(said or None)} | call_fields(machine.calls, seed, legacy=legacy)
    reason = finish_reason(fields.get("finish_reason"), legacy=legacy)
    return edit(choice, {"message": edit(bytes(fields["message"]), changes, message), "finish_reason": reason}, fields)


def _unreadable() -> InvalidRequest:
    return InvalidRequest("the tools or messages cannot be read; send plain JSON", code="invalid_json", param="tools")


def _id(seed: bytes, number: int) -> str:
    return "call_" + hashlib.sha256(b"%s:%d" % (seed, number)).hexdigest()[:24]


def _functions(fields: Fields) -> list[dict[str, Json]]:
    if not is_null(fields.get("tools")):
        found = [_function(decoded(raw), f"tools[{at}]", nested=True) for at, raw in enumerate(_list(fields, "tools"))]
        return [function for function in found if function is not None]
    if not is_null(fields.get("functions")):
        listed = enumerate(_list(fields, "functions"))
        found = [_function(decoded(raw), f"functions[{at}]", nested=False) for at, raw in listed]
        return [function for function in found if function is not None]
    return []


def _function(tool: Json, param: str, *, nested: bool) -> dict[str, Json]:
    function = tool.get("function") if nested and isinstance(tool, dict) else tool
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        example = '{"type": "function", "function": {"name": ...}}' if nested else '{"name": ...}'
        raise InvalidRequest(f"'{param}' must be a function tool: {example}", code="invalid_type", param=param)
    return function


def _prompt(fields: Fields) -> str | None:
    functions = _functions(fields)
    legacy = is_legacy(fields)
    name = "function_call" if legacy else "tool_choice"
    choice = decoded(fields[name]) if name in fields else None
    if not functions or choice == "none":
        return None
    match choice:
        case "required" | "any":
            words = _REQUIRED
        case dict():
            words = _NAMED.format(name=_function(choice, name, nested=not legacy)["name"])
        case _:
            words = _AUTO
    described = "\n".join(
        encode({key: function[key] for key in ("name", "description", "parameters") if key in function}).decode()
        for function in functions
    )
    return _PROMPT.replace("{choice}", words).replace("{form}", _FORM).replace("{tools}", described)


def _list(fields: Fields, name: str) -> list[msgspec.Raw]:
    try:
        return _RAW_LIST.decode(fields[name])
    except msgspec.DecodeError:
        raise InvalidRequest(f"'{name}' must be a list", code="invalid_type", param=name) from None


def _with_system(messages: list[msgspec.Raw], prompt: str) -> list[msgspec.Raw]:
    """The prompt at the end of the system message that is there, for many models take but one."""
    first = object_fields(bytes(messages[0])) if messages else None
    if first is None or text_of(first, "role") not in {"system", "developer"}:
        return [msgspec.Raw(encode({"role": "system", "content": prompt})), *messages]
    content = decoded(first["content"]) if "content" in first else None
    if isinstance(content, list):
        new: Json = [*content, {"type": "text", "text": prompt}]
    else:
        new = f"{content}\n\n{prompt}" if content else prompt
    return [msgspec.Raw(edit(bytes(messages[0]), {"content": encode(new)}, first)), *messages[1:]]


def _without_tool_messages(messages: list[msgspec.Raw]) -> list[msgspec.Raw]:
    """The history in plain words: calls as they are asked for in text, results as messages of the user."""
    out: list[msgspec.Raw] = []
    called: dict[str, str] = {}
    results: list[str] = []
    for raw in messages:
        fields = object_fields(bytes(raw)) or {}
        if text_of(fields, "role") in {"tool", "function"}:
            results.append(_result(fields, called))
            continue
        # Results that follow each other are one message: many models want user and assistant to take turns.
        if results:
            out.append(_said_by_user(results))
            results = []
        out.append(_assistant(raw, fields, called))
    return [*out, _said_by_user(results)] if results else out


def _said_by_user(results: list[str]) -> msgspec.Raw:
    return msgspec.Raw(encode({"role": "user", "content": "\n\n".join(results)}))


def _result(fields: Fields, called: dict[str, str]) -> str:
    name = text_of(fields, "name") or called.get(text_of(fields, "tool_call_id") or "")
    content = decoded(fields["content"]) if "content" in fields else ""
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return f"Result of the tool {name or 'that you called'}:\n{content}"


def _assistant(raw: msgspec.Raw, fields: Fields, called: dict[str, str]) -> msgspec.Raw:
    if is_null(fields.get("tool_calls")) and is_null(fields.get("function_call")):
        return raw
    calls = []
    for call in _past_calls(fields):
        function = call.get("function", call)
        if not isinstance(function, dict):
            continue
        called[str(call.get("id"))] = str(function.get("name"))
        calls.append({"name": function.get("name"), "arguments": _arguments(function.get("arguments"))})
    said = text_of(fields, "content")
    content = encode({"tool_calls": calls}).decode()
    changes: dict[str, bytes | None] = {"content": encode(f"{said}\n{content}" if said else content)}
    gone: dict[str, bytes | None] = {name: None for name in ("tool_calls", "function_call") if name in fields}
    return msgspec.Raw(edit(bytes(raw), changes | gone, fields))


def _past_calls(fields: Fields) -> list[dict[str, Json]]:
    if not is_null(fields.get("tool_calls")):
        return [call for call in map(decoded, _list(fields, "tool_calls")) if isinstance(call, dict)]
    call = decoded(fields["function_call"])
    return [call] if isinstance(call, dict) else []


def _arguments(text: Json) -> Json:
    """Arguments as the object they spell, or as they are where they spell none."""
    try:
        return msgspec.json.decode(text) if isinstance(text, str) and text else text or {}
    except msgspec.DecodeError:
        return text
