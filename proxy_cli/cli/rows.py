"""The models of a configuration as the start and `llmproxy check` show them: what each name stands for, and where.

The address is taken from the request that would be sent, so that it is the one that will be called.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from proxy_cli.cli.banner import ModelRow
from proxy_cli.providers.table import provider_for
from proxy_cli.server.probes import OPERATIONS
from proxy_cli.shapes import Call, Deployment, LocalReply, Operation
from proxy_cli.wire import request as wire_request

# A chat model and one of an unknown kind are asked to chat; changing an image is nothing to ask for the sake of asking.
_OPERATIONS: Final[Mapping[str, Operation]] = {**OPERATIONS, "image_edit": Operation.IMAGE_EDITS}
# Their bodies are forms, which cannot be made up here; their path stands below the base like every other.
_FORMS: Final = frozenset({Operation.TRANSCRIPTIONS, Operation.IMAGE_EDITS})
_BY_NAME: Final = "*"  # a wildcard for all providers: the name that is asked for decides


def model_rows(deployments: Iterable[Deployment]) -> list[ModelRow]:
    """One row for each deployment, in the order of the file."""
    return [_row(deployment) for deployment in deployments]


def _row(deployment: Deployment) -> ModelRow:
    mocked = deployment.mock_response is not None
    by_name = deployment.provider == _BY_NAME
    return ModelRow(
        name=deployment.group,
        backend_model=deployment.model,
        provider="by name" if by_name else deployment.provider,
        url="mock_response" if mocked else "-" if by_name else effective_url(deployment),
    )


def effective_url(deployment: Deployment) -> str:
    """The address that a request of the model's kind goes to."""
    operation = _OPERATIONS.get(deployment.mode or "", Operation.CHAT)
    if operation in _FORMS:
        return deployment.url(operation)
    body = msgspec.json.encode({"model": deployment.group})
    call = Call(
        request_id="check", operation=operation, model=deployment.group, body=body, fields=wire_request.cut(body)
    )
    request = provider_for(deployment).prepare(call, deployment, ask_usage=False)
    assert not isinstance(request, LocalReply), "a mocked model has no address"
    return f"{request.backend}{request.target}"
