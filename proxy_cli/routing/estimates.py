"""How many tokens a call's prompt will be, from the length of its bytes.

Owns the relation of bytes to tokens, which each deployment corrects from the usages that its backend counts. Refuses to
tokenize: a tokenizer takes the event loop for longer than a whole request, and every model has another. The rule to
keep: one look at the bytes for a call, then a multiplication for each deployment.
"""

from typing import Final

import msgspec

from proxy_cli.shapes import Call, Deployment, Operation, Usage
from proxy_cli.wire.media import holds_media

# Text in ASCII is mostly English and code; text in other letters has two or three bytes for each.
_ASCII_BYTES_PER_TOKEN: Final = 4.0
_OTHER_BYTES_PER_TOKEN: Final = 2.5
_PROMPT: Final = {
    Operation.CHAT: ("messages", "tools", "functions"),
    Operation.COMPLETIONS: ("prompt",),
    Operation.RESPONSES: ("input", "instructions", "tools"),
    Operation.EMBEDDINGS: ("input",),
}
# What bounds an answer, by operation: a backend takes no notice of the names of other operations.
_ANSWER: Final = {
    Operation.CHAT: ("max_completion_tokens", "max_tokens"),
    Operation.COMPLETIONS: ("max_tokens",),
    Operation.RESPONSES: ("max_output_tokens",),
}
# A picture or sound inside the JSON is one long string without a space; it is not counted by its length.
_LONG_BYTES: Final = 4096
# About what a picture costs, whatever the size of its file: OpenAI's and Qwen's middle sizes.
_PICTURE_TOKENS: Final = 800
# What a template puts around a short prompt says nothing about the text of a long one.
_LEAST_LEARNED: Final = 32.0
_NEWEST: Final = 0.1  # the part that the newest usage has in the correction
_LEAST_CORRECTION: Final = 0.2
_MOST_CORRECTION: Final = 5.0


class Prompt(msgspec.Struct, frozen=True, gc=False):
    """A prompt's size before any deployment's correction."""

    tokens: float
    pictures: int  # long strings without text, counted apart

    def at(self, deployment: Deployment) -> int:
        """About how many tokens this is for the tokenizer behind a deployment."""
        correction = deployment.worked_out.get(Correction)
        if correction is None:
            correction = deployment.worked_out[Correction] = Correction()
        return round(self.tokens * correction.factor) + self.pictures * _PICTURE_TOKENS


class Correction(msgspec.Struct, gc=False):
    """How far the first guess is off at a deployment; mutable, kept with it from the first estimate on."""

    factor: float = 1.0
    learned: int = 0


def prompt(call: Call) -> Prompt:
    """The size of a call's prompt; nothing where tokens are not what is sent."""
    names = _PROMPT.get(call.operation, ())
    tokens = 0.0
    pictures = 0
    for name in names:
        raw = call.fields.get(name)
        if raw is None:
            continue
        text, media = _without_media(bytes(raw))
        pictures += media
        tokens += len(text) / (_ASCII_BYTES_PER_TOKEN if text.isascii() else _OTHER_BYTES_PER_TOKEN)
    return Prompt(tokens, pictures)


def tokens(call: Call, deployment: Deployment) -> int:
    """About how many tokens a call's prompt is at a deployment."""
    return prompt(call).at(deployment)


def answer_tokens(call: Call) -> int:
    """The most tokens that the caller lets an answer have; 0 where he says nothing. Of two bounds the wider counts."""
    most = 0
    for name in _ANSWER.get(call.operation, ()):
        raw = call.fields.get(name)
        if raw is not None:
            try:
                most = max(msgspec.json.decode(raw, type=int | None) or 0, most)
            except msgspec.MsgspecError:
                return 0  # the backend will say what is wrong with it
    return most


def learn(call: Call, deployment: Deployment, usage: Usage | None) -> None:
    """Correct a deployment's estimates by what its backend has counted; costs nothing where nobody estimates."""
    correction: Correction | None = deployment.worked_out.get(Correction)
    if correction is None or usage is None or usage.prompt_tokens <= 0:
        return
    guess = prompt(call)
    if guess.pictures or guess.tokens < _LEAST_LEARNED:
        return
    seen = min(max(usage.prompt_tokens / guess.tokens, _LEAST_CORRECTION), _MOST_CORRECTION)
    correction.learned += 1
    # The first few are a plain mean, so that the very first guess does not linger.
    correction.factor += max(_NEWEST, 1 / correction.learned) * (seen - correction.factor)


def _without_media(value: bytes) -> tuple[bytes, int]:
    """A JSON value without the long strings that are no text, and how many of those there were."""
    if len(value) < _LONG_BYTES:
        return value, 0
    pieces = value.split(b'"')
    kept = [piece for at, piece in enumerate(pieces) if not (_is_media(piece) and holds_media(pieces, at))]
    return (b'"'.join(kept), len(pieces) - len(kept)) if len(kept) < len(pieces) else (value, 0)


def _is_media(piece: bytes) -> bool:
    """Whether a string is base64: no text of any language goes on so long without a space or an escape."""
    if len(piece) < _LONG_BYTES:
        return False
    middle = piece[len(piece) // 2 : len(piece) // 2 + 512]
    return middle.isascii() and middle.translate(None, b"+/=-_").isalnum()
