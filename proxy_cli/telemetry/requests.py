"""What the log says of one request: as a line for people, as fields for machines; escaped and without secrets.

The part that is the same for request after request (method, path, names, place) is worked out once and remembered.
What a caller or a backend chose is masked and escaped there, so that a line is put together of clean words.
"""

import json
from typing import Final, NamedTuple, TypeVar

from proxy_cli.shapes import Deployment, Record
from proxy_cli.telemetry.escape import json_line, one_line
from proxy_cli.telemetry.masking import Mask

Name = TypeVar("Name")
Value = TypeVar("Value")
_LONGEST: Final = 300  # characters of a name or path
_REMEMBERED: Final = 1000  # heads and words; past that all are forgotten


class _Head(NamedTuple):
    """The beginning of a line, and the same as members of a JSON object."""

    text: str
    fields: str
    deployment: Deployment | None  # after a reload another one may go by its id


class _Word(NamedTuple):
    """A word as a value of JSON, and as it stands in a line."""

    value: str
    shown: str


class Requests:
    """Puts requests into words. Owns what it remembers of them."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._heads: dict[tuple[str, str, str, str | None], _Head] = {}
        self._words: dict[str, _Word] = {}
        self._errors: dict[str, _Word] = {}

    def line(self, record: Record) -> str:
        """What happened, in the order people ask: what, of whom, how it ended, how long, how much."""
        usage, started_s = record.usage, record.started_s
        text = f"{self._head(record).text} {record.status} {(record.ended_s - started_s) * 1000:.0f} ms"
        if record.stream and record.first_byte_s is not None:
            text += f" (first {(record.first_byte_s - started_s) * 1000:.0f} ms)"
        if usage is not None:
            text += f" {usage.prompt_tokens}+{usage.completion_tokens} tokens"
        if record.cost_usd is not None:
            text += f" ${record.cost_usd:.6f}"
        if record.attempts > 1:
            text += f" {record.attempts} attempts"
        text += f" id={self._id(record)} client={self._word(record.client or '-').shown}"
        if record.key:
            text += f" key={self._word(record.key).shown}"
        if record.error is not None:
            text += f" error={self._error(record.error).shown}"
        return text

    def fields(self, record: Record) -> str:
        """The same for machines, as the members of a JSON object; what is not known is left out."""
        usage, started_s = record.usage, record.started_s
        text = (
            f'"request_id":{self._id_value(record)},{self._head(record).fields},"status":{record.status},'
            f'"stream":{"true" if record.stream else "false"},'
            f'"duration_ms":{(record.ended_s - started_s) * 1000:.3f},"bytes_out":{record.bytes_out}'
        )
        if record.first_byte_s is not None:
            text += f',"first_byte_ms":{(record.first_byte_s - started_s) * 1000:.3f}'
        if usage is not None:
            text += f',"prompt_tokens":{usage.prompt_tokens},"completion_tokens":{usage.completion_tokens}'
        if record.cost_usd is not None:
            text += f',"cost_usd":{record.cost_usd}'
        if record.attempts:
            text += f',"attempts":{record.attempts}'
        if record.client:
            text += f',"client":{self._word(record.client).value}'
        if record.key:
            text += f',"key":{self._word(record.key).value}'
        if record.error is not None:
            text += f',"error":{self._error(record.error).value}'
        return text

    def _head(self, record: Record) -> _Head:
        deployment = record.deployment
        key = (record.method, record.route, record.model, deployment.id if deployment is not None else None)
        head = self._heads.get(key)
        if head is None or head.deployment is not deployment:
            head = self._new_head(record)
            if len(record.route) + len(record.model) <= _LONGEST:
                _remember(self._heads, key, head)
        return head

    def _new_head(self, record: Record) -> _Head:
        deployment, model = record.deployment, _cut(record.model)
        parts = [record.method, _quoted(_cut(record.route))]
        if model:
            parts.append(_quoted(model))
        place = _place(deployment) if deployment is not None else None
        if deployment is not None:
            parts.append(f"-> {_quoted(deployment.model)} @ {place or 'mock_response'}")
        values = {
            "method": record.method,
            "route": _cut(record.route),
            "model": model or None,
            "backend_model": deployment.model if deployment else None,
            "backend": place,
            "provider": deployment.provider if deployment else None,
            "deployment_id": deployment.id if deployment else None,
        }
        fields = (f'"{name}":{self._value(value)}' for name, value in values.items() if value is not None)
        return _Head(self._clean(" ".join(parts)), ",".join(fields), deployment)

    def _id(self, record: Record) -> str:
        identity = record.request_id
        return identity if _is_plain(identity) else self._clean(identity)

    def _id_value(self, record: Record) -> str:
        identity = record.request_id
        return f'"{identity}"' if _is_plain(identity) else self._value(identity)

    def _word(self, text: str) -> _Word:
        word = self._words.get(text)
        if word is None:
            word = _Word(self._value(_cut(text)), self._clean(_quoted(_cut(text))))
            if len(text) <= _LONGEST:
                _remember(self._words, text, word)
        return word

    def _error(self, text: str) -> _Word:
        # Refusals come in crowds, with the same words.
        error = self._errors.get(text)
        if error is None:
            error = _Word(self._value(text), self._clean(json.dumps(text, ensure_ascii=False)))
            if len(text) <= _LONGEST:
                _remember(self._errors, text, error)
        return error

    def _clean(self, text: str) -> str:
        return one_line(self._mask.hide(text))

    def _value(self, text: str) -> str:
        return json_line(json.dumps(self._mask.hide(text), ensure_ascii=False))


def _remember(memory: dict[Name, Value], name: Name, value: Value) -> None:
    if len(memory) >= _REMEMBERED:
        memory.clear()
    memory[name] = value


def _is_plain(identity: str) -> bool:
    """Whether it is as we make them ourselves: nothing in it can act or be a secret."""
    return identity.isalnum() and identity.isascii()


def _place(deployment: Deployment) -> str | None:
    """Where a deployment's answers come from; None where none is asked."""
    return str(deployment.backend) if deployment.mock_response is None else None


def _cut(text: str) -> str:
    """What a caller chose, shortened: every character of a line is looked at for secrets, and that takes its time."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _quoted(text: str) -> str:
    """One word of the line: in quotes where its own blanks or quotes would make it look like several."""
    return json.dumps(text, ensure_ascii=False) if not text or " " in text or '"' in text else text
