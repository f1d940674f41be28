"""OpenAI's models on Azure: the same bodies, at addresses that name a deployment and an API version.

Paths: https://learn.microsoft.com/azure/ai-services/openai/reference (by deployment) and
https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle (`/openai/v1`, which needs no version).
"""

import re
from typing import Final
from urllib.parse import quote

from proxy_cli.providers.base import StreamReader
from proxy_cli.providers.compatible import OpenAICompatible
from proxy_cli.providers.request import request_to
from proxy_cli.shapes import Call, Deployment, Headers, LocalReply, Operation, PlainAnswer, UpstreamRequest

DEFAULT_API_VERSION: Final = "2024-10-21"  # the last general release of the paths by deployment
_RESPONSES_API_VERSION: Final = "2025-04-01-preview"  # no general release has the Responses API by version

_OPERATION: Final = re.compile("/(" + "|".join(each.value for each in Operation) + ")$")
_JWT: Final = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")


class Azure:
    """OpenAI's dialect at Azure's addresses."""

    __slots__ = ("_dialect",)

    def __init__(self) -> None:
        self._dialect = OpenAICompatible()

    def prepare(self, call: Call, deployment: Deployment, *, ask_usage: bool) -> UpstreamRequest | LocalReply:
        """The request to send."""
        return request_to(call, deployment, target=target, credentials=_key, ask_usage=ask_usage)

    def read(self, call: Call, deployment: Deployment, status: int, headers: Headers, body: bytes) -> PlainAnswer:
        """The answer in a whole reply."""
        return self._dialect.read(call, deployment, status, headers, body)

    def stream_reader(self, call: Call, deployment: Deployment) -> StreamReader:
        """A reader for one stream."""
        return self._dialect.stream_reader(call, deployment)

    def reply_headers(self, headers: Headers) -> Headers:
        """Of a backend's headers those the caller sees."""
        return self._dialect.reply_headers(headers)


def target(operation: Operation, deployment: Deployment) -> str:
    """Path and query, whichever of its forms Azure's address was given in: bare, with a deployment, or `/openai/v1`."""
    # People copy the address of an endpoint from Azure's portal, down to the operation.
    base = _OPERATION.sub("", deployment.base_path)
    path = operation.value
    version = deployment.api_version
    if base.endswith("/v1"):
        # Here a version is only "preview" or "latest"; a date is left from the other form.
        query = f"?api-version={version}" if version in ("preview", "latest") else ""
        return f"{base}/{path}{query}"
    root = base.removesuffix("/openai")
    if operation is Operation.RESPONSES:
        # Not by deployment: the model is in the body.
        root, version = root.partition("/openai/deployments/")[0], version or _RESPONSES_API_VERSION
        return f"{root}/openai/{path}?api-version={quote(version, safe='')}"
    if "/openai/deployments/" not in base:
        base = f"{root}/openai/deployments/{quote(deployment.model, safe='')}"
    return f"{base}/{path}?api-version={quote(version or DEFAULT_API_VERSION, safe='')}"


def _key(deployment: Deployment) -> Headers:
    """The key in `api-key`; a token of Microsoft Entra, which is told by its form, as a bearer's."""
    if not deployment.api_key:
        return ()
    key = deployment.api_key.reveal()
    return (("authorization", f"Bearer {key}"),) if _JWT.fullmatch(key) else (("api-key", key),)
