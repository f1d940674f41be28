"""OpenAI's models on Azure."""

import pytest

from proxy_cli.providers.azure import Azure, target
from proxy_cli.secret import Secret
from proxy_cli.shapes import Operation, UpstreamRequest

CHAT = Operation.CHAT
BY_DEPLOYMENT = "/openai/deployments/our%20chat"


@pytest.mark.parametrize(
    ("base_path", "version", "operation", "expected"),
    [
        ("", None, CHAT, f"{BY_DEPLOYMENT}/chat/completions?api-version=2024-10-21"),
        ("", "2025-01-01-preview", CHAT, f"{BY_DEPLOYMENT}/chat/completions?api-version=2025-01-01-preview"),
        ("", "a&b=c", CHAT, f"{BY_DEPLOYMENT}/chat/completions?api-version=a%26b%3Dc"),
        ("/openai", None, Operation.EMBEDDINGS, f"{BY_DEPLOYMENT}/embeddings?api-version=2024-10-21"),
        ("/openai/deployments/d", "v", CHAT, "/openai/deployments/d/chat/completions?api-version=v"),
        ("/openai/deployments/d/chat/completions", "v", CHAT, "/openai/deployments/d/chat/completions?api-version=v"),
        (
            "/openai/deployments/d/chat/completions",
            "v",
            Operation.EMBEDDINGS,
            "/openai/deployments/d/embeddings?api-version=v",
        ),
        ("/openai/v1", None, CHAT, "/openai/v1/chat/completions"),
        ("/openai/v1", "2024-10-21", CHAT, "/openai/v1/chat/completions"),
        ("/openai/v1", "preview", CHAT, "/openai/v1/chat/completions?api-version=preview"),
        ("/openai/v1", None, Operation.RESPONSES, "/openai/v1/responses"),
        ("", None, Operation.RESPONSES, "/openai/responses?api-version=2025-04-01-preview"),
        ("/openai/deployments/d", "v", Operation.RESPONSES, "/openai/responses?api-version=v"),
        ("/proxy", "v", CHAT, f"/proxy{BY_DEPLOYMENT}/chat/completions?api-version=v"),
        ("", "v", Operation.SPEECH, f"{BY_DEPLOYMENT}/audio/speech?api-version=v"),
    ],
)
def test_target_is_azures_address_in_each_of_its_forms(make_deployment, base_path, version, operation, expected):
    """Bare, with a deployment, down to the operation, or the newer one that needs no version."""
    deployment = make_deployment(provider="azure", model="our chat", base_path=base_path, api_version=version)

    assert target(operation, deployment) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("0123456789abcdef", ("api-key", "0123456789abcdef")),
        ("eyJhbGciOi.eyJzdWIi.c2ln", ("authorization", "Bearer eyJhbGciOi.eyJzdWIi.c2ln")),
    ],
)
def test_azure_takes_a_key_or_a_token(make_call, make_deployment, key, expected):
    """A key has its own header; a token of Entra, told by its form, is a bearer's."""
    request = Azure().prepare(make_call(), make_deployment(api_key=Secret(key)), ask_usage=True)

    assert isinstance(request, UpstreamRequest)
    assert [pair for pair in request.headers if pair[0] in ("api-key", "authorization")] == [expected]


def test_azure_without_a_key_sends_none(make_call, make_deployment):
    """Headers of the deployment may hold what opens it."""
    deployment = make_deployment(api_key=None, headers=(("authorization", "Bearer x"),))

    request = Azure().prepare(make_call(), deployment, ask_usage=True)

    assert isinstance(request, UpstreamRequest)
    assert [pair for pair in request.headers if pair[0] in ("api-key", "authorization")] == [
        ("authorization", "Bearer x")
    ]


def test_azure_returns_headers_as_every_provider(make_call, make_deployment):
    """What comes back is marked as the backend's."""
    assert Azure().reply_headers((("apim-request-id", "a"),)) == (("llm_provider-apim-request-id", "a"),)
