"""One request to a backend."""

import pytest

from proxy_cli.providers.request import request_to, timeouts
from proxy_cli.shapes import Timeouts


def test_request_is_put_together_from_call_and_deployment(make_call, make_deployment):
    """The backend is the deployment's, the path and the credentials are the dialect's."""
    target = make_deployment()

    request = request_to(
        make_call(stream=True),
        target,
        target=lambda operation, deployment: f"/v1/{deployment.model}/{operation}",
        credentials=lambda deployment: (("api-key", deployment.id),),
        ask_usage=False,
    )

    assert (request.backend, request.target, request.method, request.stream) == (
        target.backend,
        "/v1/vicuna-13b/chat/completions",
        "POST",
        True,
    )
    assert ("api-key", "d1") in request.headers
    assert request.body == b'{"model":"vicuna-13b","stream":true}'


@pytest.mark.parametrize(
    ("asked", "configured", "expected"),
    [
        ({}, {}, Timeouts()),
        ({}, {"timeout_s": 9.0}, Timeouts(first_byte_s=9.0, total_s=9.0)),
        ({}, {"timeout_s": 2.0}, Timeouts(connect_s=2.0, first_byte_s=2.0, total_s=2.0)),
        ({}, {"stream_timeout_s": 9.0}, Timeouts()),
        ({"timeout": 8}, {"timeout_s": 9.0}, Timeouts(first_byte_s=8.0, total_s=8.0, set_by_caller=True)),
        ({"stream": True}, {}, Timeouts(total_s=None)),
        ({"stream": True}, {"timeout_s": 9.0}, Timeouts(first_byte_s=9.0, total_s=None)),
        ({"stream": True}, {"timeout_s": 9.0, "stream_timeout_s": 7.0}, Timeouts(first_byte_s=7.0, total_s=None)),
        ({"stream": True}, {"timeout_s": 300.0}, Timeouts(first_byte_s=300.0, total_s=None, gap_s=300.0)),
        ({}, {"timeout_s": 900.0}, Timeouts(first_byte_s=900.0, total_s=900.0)),
        (
            {"stream": True, "timeout": 8, "stream_timeout": 6},
            {"stream_timeout_s": 7.0},
            Timeouts(first_byte_s=6.0, total_s=None, set_by_caller=True),
        ),
        (
            {"stream": True, "timeout": 8},
            {"stream_timeout_s": 7.0},
            Timeouts(first_byte_s=8.0, total_s=None, set_by_caller=True),
        ),
    ],
)
def test_timeouts_are_the_callers_else_the_deployments_else_ours(
    make_call, make_deployment, asked, configured, expected
):
    """Whoever is nearer to the call decides, and a stream is never limited as a whole."""
    assert timeouts(make_call(**asked), make_deployment(**configured)) == expected
