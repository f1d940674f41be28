"""A failure inside a good status, before anything of an answer."""

import pytest

from proxy_cli.errors import BackendError
from proxy_cli.providers.inband import in_band_failure
from proxy_cli.shapes import Call, Operation
from tests.providers.conftest import deployment_of

CALL = Call(request_id="r", operation=Operation.CHAT, model="m", body=b"{}", stream=True)


@pytest.mark.row("S-11")
@pytest.mark.parametrize(
    ("error", "status"),
    [
        ('{"error":{"message":"too long","type":"BadRequestError","code":400}}', 400),
        ('{"error":{"message":"slow down","type":"rate_limit_error"}}', 429),
        ('{"error":{"message":"slow down","code":"rate_limit_exceeded"}}', 429),
        ('{"error":{"message":"who","code":"401"}}', 401),
        ('{"object":"error","message":"gone","code":404}', 404),
        ('{"error":{"message":"oops","type":"server_error"}}', 500),
        ('{"error":{"message":"oops","code":40303}}', 500),
        ('{"error":"oops"}', 500),
    ],
)
def test_the_status_fits_the_words(error, status):
    """A number that is a status, or the name of a kind of error; what says neither is the backend's own failure."""
    failure = in_band_failure(CALL, deployment_of(), f"data: {error}\n\n".encode())

    assert isinstance(failure, BackendError)
    assert failure.status == status
    assert failure.message.split()[0] in error


@pytest.mark.parametrize("event", [b"data: nonsense\n\n", b": ping\n\n", b"data: [1]\n\n"])
def test_words_that_are_no_error_object_are_a_failure_all_the_same(event):
    """Nothing breaks here."""
    assert in_band_failure(CALL, deployment_of(), event).status == 500
