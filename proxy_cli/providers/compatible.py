"""OpenAI's dialect, for every service of the catalog: what comes in goes out, but for a handful of fields."""

from functools import partial
from typing import Final

import msgspec

from proxy_cli.providers.base import StreamReader
from proxy_cli.providers.headers import bearer, reply_headers
from proxy_cli.providers.passing import PassingStream
from proxy_cli.providers.prompting import called_back, calling_back, prompts_tools
from proxy_cli.providers.refusals import scrubbed
from proxy_cli.providers.replies import read_reply, spoken
from proxy_cli.providers.request import request_to
from proxy_cli.shapes import Call, Deployment, Headers, LocalReply, Operation, PlainAnswer, UpstreamRequest
from proxy_cli.wire.completion import ChatStream, ResponsesStream

_CHAT: Final = frozenset({Operation.CHAT, Operation.COMPLETIONS})


class OpenAICompatible:
    """The default dialect out."""

    __slots__ = ()

    def prepare(self, call: Call, deployment: Deployment, *, ask_usage: bool) -> UpstreamRequest | LocalReply:
        """The request to send, to the endpoint of the same name below the deployment's base."""
        return request_to(call, deployment, target=_target, credentials=bearer, ask_usage=ask_usage)

    def read(self, call: Call, deployment: Deployment, status: int, headers: Headers, body: bytes) -> PlainAnswer:
        """The answer in a whole reply. Raises BackendError and its kin."""
        answer = read_reply(call, deployment, status, headers, body)
        if deployment.add_function_to_prompt and prompts_tools(call, deployment):
            return msgspec.structs.replace(answer, body=called_back(call, answer.body))
        return answer

    def stream_reader(self, call: Call, deployment: Deployment) -> StreamReader:
        """A reader that shows the name asked for and keeps a usage chunk only for who wants it."""
        if call.operation in _CHAT:
            scrub = partial(scrubbed, deployment)
            reader = ChatStream(call.shown_model, keep_usage=call.wants_usage, rename=True, scrub=scrub)
            return calling_back(call, reader) if prompts_tools(call, deployment) else reader
        if call.operation is Operation.RESPONSES:
            return ResponsesStream(call.shown_model, rename=True, scrub=partial(scrubbed, deployment))
        return PassingStream(spoken(call))

    def reply_headers(self, headers: Headers) -> Headers:
        """Of a backend's headers those the caller sees."""
        return reply_headers(headers)


def _target(operation: Operation, deployment: Deployment) -> str:
    return f"{deployment.base_path}/{operation.value}"
