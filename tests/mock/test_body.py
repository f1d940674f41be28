"""Bodies of requests to the mock backend: read, or refused with a reason."""

import pytest

from proxy_cli.mock.body import BadBody, decoded, text_of_body
from proxy_cli.shapes import Operation


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'"text"', b"\xff"])
def test_body_that_is_no_object_is_refused(data):
    """Everything but a JSON object has its error."""
    with pytest.raises(BadBody, match="JSON"):
        decoded(data)


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        (Operation.CHAT, {"messages": [{"role": "user", "content": "日本"}]}),
        (Operation.COMPLETIONS, {"prompt": "日本"}),
        (Operation.COMPLETIONS, {"prompt": ["日", "本"]}),
        (Operation.RESPONSES, {"input": "日本"}),
        (Operation.EMBEDDINGS, {"input": ["日", "本"]}),
        (Operation.SPEECH, {"input": "日本"}),
        (Operation.RERANK, {"query": "日本"}),
        (Operation.IMAGE_GENERATIONS, {"prompt": "日本"}),
    ],
)
def test_text_is_found_where_the_operation_keeps_it(operation, body):
    """Each operation has its own field for what it is asked."""
    assert text_of_body(operation, body) == "日本"


@pytest.mark.parametrize("operation", list(Operation))
def test_body_without_text_says_nothing(operation):
    """A missing field is an empty text, for every operation."""
    assert text_of_body(operation, {}) == ""
