"""Which dialect a deployment is spoken to in."""

from proxy_cli.providers.azure import Azure
from proxy_cli.providers.catalog import ROWS
from proxy_cli.providers.compatible import OpenAICompatible
from proxy_cli.providers.mock import Mock
from proxy_cli.providers.table import PROVIDERS, provider_for


def test_table_has_a_dialect_for_every_row():
    """No row is a provider that nobody can speak to."""
    assert PROVIDERS.keys() == ROWS.keys()


def test_provider_is_the_rows_dialect_unless_the_answer_is_made_up(make_deployment):
    """Azure has its own addresses; `mock_response` needs no backend, whoever it is, and may be empty."""
    assert type(provider_for(make_deployment(provider="groq"))) is OpenAICompatible
    assert type(provider_for(make_deployment(provider="azure"))) is Azure
    assert type(provider_for(make_deployment(provider="azure", mock_response=""))) is Mock
    assert type(provider_for(make_deployment(provider="unknown", mock_response="hi"))) is Mock
