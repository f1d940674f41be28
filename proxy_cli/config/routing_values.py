"""The kinds of value that only routing has: policies by kind of failure, patterns of tags, priorities.

A name that a policy cannot have is an error at its own place: passed over, it would leave the very failure it was
written for to the usual rule. The names are LiteLLM's, so that its files are read as they are.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from proxy_cli.config.fields import Number, read_name, wrong
from proxy_cli.config.privacy import shown
from proxy_cli.config.problem import Path, did_you_mean
from proxy_cli.config.reading import PlainValidator, Reader, Reading, ValidationInfo, WithJsonSchema, Wrong
from proxy_cli.shapes import Json

KINDS: Final = (
    "BadRequestError", "AuthenticationError", "NotFoundError", "TimeoutError", "RateLimitError",
    "ContentPolicyViolationError", "InternalServerError", "ServiceUnavailableError", "BadGatewayError",
)  # fmt: skip
RETRIES: Final = (*(f"{kind}Retries" for kind in KINDS), "DefaultRetries")
ALLOWED_FAILS: Final = tuple(f"{kind}AllowedFails" for kind in KINDS)
MOST_RETRIES: Final = 100
LAST_PRIORITY: Final = 255


@dataclass(frozen=True, slots=True)
class Policy:
    """Reads a number for each kind of failure that is named."""

    names: tuple[str, ...]
    amount: Number

    def reader(self) -> Reader:
        """What reads such a mapping; each mistake stands at its own key."""

        def read(value: object, path: Path, reading: Reading) -> Mapping[str, int] | None:
            if not isinstance(value, Mapping):
                reading.wrong("mapping", path, "expected a mapping")
                return None
            return {key: amount for key in value if (amount := self._one(key, value[key], path, reading)) is not None}

        return read

    def _one(self, key: str, value: object, path: Path, reading: Reading) -> int | None:
        if key not in self.names:
            reading.wrong("setting", (*path, key), f"no such kind of failure: '{shown(key)}'", self._cure(key))
            return None
        try:
            return int(self.amount(value))
        except Wrong as problem:
            reading.wrong("setting", (*path, key), problem.message, problem.cure)
            return None

    def _cure(self, key: str) -> str:
        near = did_you_mean(key, self.names)
        return f"did you mean '{near}'?" if near else f"valid: {', '.join(self.names)}"

    def schema(self) -> dict[str, Json]:
        """The JSON Schema of such a mapping."""
        return {
            "type": "object",
            "properties": dict.fromkeys(self.names, self.amount.schema()),
            "additionalProperties": False,
        }


def read_pattern(value: object, info: ValidationInfo) -> str:
    """A regular expression, as Python writes them."""
    text = read_name(value, info)
    try:
        re.compile(text)
    except re.error as problem:
        raise wrong(
            f"not a regular expression: {problem.msg}", "write one such as ^User-Agent: .*claude-code"
        ) from None
    return text


_RETRIES_NUMBER: Final = Number(f"a whole number from 0 to {MOST_RETRIES}", least=0, most=MOST_RETRIES, integer=True)
_FAILS_NUMBER: Final = Number("a whole number, 0 or more", least=0, integer=True)
_PRIORITY: Final = Number(
    f"a whole number from 0 (first) to {LAST_PRIORITY} (last)", least=0, most=LAST_PRIORITY, integer=True
)
_PERCENT: Final = Number("a number from 0 to 100", least=0, most=100)
_RETRY_POLICY: Final = Policy(RETRIES, _RETRIES_NUMBER)
_FAILS_POLICY: Final = Policy(ALLOWED_FAILS, _FAILS_NUMBER)

Retries = Annotated[int, PlainValidator(_RETRIES_NUMBER), WithJsonSchema(_RETRIES_NUMBER.schema())]
Priority = Annotated[int, PlainValidator(_PRIORITY), WithJsonSchema(_PRIORITY.schema())]
Percent = Annotated[float, PlainValidator(_PERCENT), WithJsonSchema(_PERCENT.schema())]
Pattern = Annotated[str, PlainValidator(read_pattern), WithJsonSchema({"type": "string", "format": "regex"})]
RetryPolicy = Annotated[Mapping[str, int], _RETRY_POLICY, WithJsonSchema(_RETRY_POLICY.schema())]
AllowedFailsPolicy = Annotated[Mapping[str, int], _FAILS_POLICY, WithJsonSchema(_FAILS_POLICY.schema())]
