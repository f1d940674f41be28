"""A deployment that is never asked."""

from dataclasses import replace

import pytest

from proxy_cli.errors import Unpriced
from proxy_cli.providers.refusing import Refusing
from proxy_cli.providers.table import provider_for


@pytest.mark.row("C-64")
def test_a_deployment_without_a_price_is_refused_with_its_sentence(make_call, make_deployment):
    """Before anything is sent; another deployment of the name may have a price."""
    refused = replace(make_deployment(), refusal="it has no price")

    with pytest.raises(Unpriced, match="it has no price") as caught:
        provider_for(refused).prepare(make_call(), refused, ask_usage=True)

    assert (caught.value.status, caught.value.code, caught.value.elsewhere) == (403, "model_without_price", True)


def test_nothing_is_ever_read_from_it(make_call, make_deployment):
    """For nothing was sent."""
    refusing = Refusing()

    with pytest.raises(AssertionError):
        refusing.read(make_call(), make_deployment(), 200, (), b"")
    with pytest.raises(AssertionError):
        refusing.stream_reader(make_call(), make_deployment())
    assert refusing.reply_headers(()) == ()
