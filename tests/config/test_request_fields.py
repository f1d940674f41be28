"""Defaults of request fields."""

import pytest

from proxy_cli.config.reading import Unreadable
from proxy_cli.config.request_fields import RequestFields


def test_numbers_are_numbers():
    """A slip shows at start."""
    fields = RequestFields.model_validate({"temperature": "0.5", "seed": "7", "max_tokens": 100})

    assert (fields.temperature, fields.seed, fields.max_tokens) == (0.5, 7, 100)
    with pytest.raises(Unreadable, match="expected a number, got 'hot'"):
        RequestFields.model_validate({"temperature": "hot"})


@pytest.mark.parametrize("value", ["a", ["a", "b"], None])
def test_stop_takes_what_the_api_takes(value):
    """A text or a list of them."""
    assert RequestFields.model_validate({"stop": value}).stop == value
