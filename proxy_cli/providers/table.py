"""Which dialect a deployment is spoken to in. A provider with its own dialect is one file and one line here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxy_cli.providers.azure import Azure
from proxy_cli.providers.base import Provider
from proxy_cli.providers.catalog import ROWS
from proxy_cli.providers.compatible import OpenAICompatible
from proxy_cli.providers.mock import Mock
from proxy_cli.providers.refusing import Refusing
from proxy_cli.shapes import Deployment

_COMPATIBLE: Final = OpenAICompatible()
_MOCK: Final = Mock()
_REFUSING: Final = Refusing()

PROVIDERS: Final[Mapping[str, Provider]] = MappingProxyType(dict.fromkeys(ROWS, _COMPATIBLE) | {"azure": Azure()})


def provider_for(deployment: Deployment) -> Provider:
    """The provider of a deployment; one with `mock_response` needs no backend."""
    if deployment.refusal:
        return _REFUSING
    return _MOCK if deployment.mock_response is not None else PROVIDERS[deployment.provider]
