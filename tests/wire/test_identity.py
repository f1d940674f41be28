"""The backend's id of an answer is found where it stands, and nothing else is taken for it."""

import pytest

from proxy_cli.wire.identity import answer_id, stream_id


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"id": "chatcmpl-1", "model": "m"}', "chatcmpl-1"),
        (b'{"choices": [{"id": "inner"}]}', ""),
        (b'{"id": 7}', ""),
        (b'{"id": null}', ""),
        (b"[1, 2]", ""),
        (b"no JSON", ""),
        (b'{"id": "%s"}' % (b"x" * 300), "x" * 200),
    ],
)
def test_the_id_of_a_whole_answer_is_the_one_at_its_root(body, found):
    """Whatever else a body holds, and however long the id is."""
    assert answer_id(body) == found


@pytest.mark.parametrize(
    ("begun", "found"),
    [
        (b'data: {"id":"chatcmpl-2","choices":[]}\n\n', "chatcmpl-2"),
        (b'data: {"object": "chunk", "id" : "a"}\n\n', "a"),
        (b": ping\n\n", ""),
        (b'data: {"id":"' + b"x" * 300 + b'"}\n\n', ""),
    ],
)
def test_the_id_of_a_stream_is_in_its_first_event(begun, found):
    """The first one that is there."""
    assert stream_id(begun) == found
