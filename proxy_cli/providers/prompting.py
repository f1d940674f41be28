"""Tools for targets that take none, or of which nothing is known: put into the prompt, and parsed back."""

from proxy_cli.providers.base import StreamReader
from proxy_cli.shapes import Call, Deployment, Operation
from proxy_cli.wire.completion import ChatStream
from proxy_cli.wire.splice import is_null
from proxy_cli.wire.toolprompt import from_reply, is_legacy, tool_names
from proxy_cli.wire.toolstream import ToolPromptStream


def prompts_tools(call: Call, deployment: Deployment) -> bool:
    """Whether the tools of a call go into its prompt: it is set so, and they are not known to be taken."""
    return (
        deployment.add_function_to_prompt
        and not deployment.takes_tools
        and call.operation is Operation.CHAT
        and not (is_null(call.fields.get("tools")) and is_null(call.fields.get("functions")))
    )


def called_back(call: Call, body: bytes) -> bytes:
    """A whole reply with the calls in its text as tool calls."""
    return from_reply(body, tool_names(call.fields), legacy=is_legacy(call.fields))


def calling_back(call: Call, reader: ChatStream) -> StreamReader:
    """The same for a stream, behind the reader that renames and counts."""
    return ToolPromptStream(reader, tool_names(call.fields), legacy=is_legacy(call.fields))
