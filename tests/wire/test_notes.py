"""What a caller wants kept is found in the body and in headers, within bounds."""

import msgspec

from proxy_cli.shapes import Call, Operation
from proxy_cli.wire.notes import Notes, notes_of, prompt_of


def noted(*headers: tuple[str, str], **fields) -> Notes:
    raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}
    call = Call(request_id="r", operation=Operation.CHAT, model="m", body=b"{}", fields=raw, headers=headers)
    return notes_of(call)


def test_metadata_of_both_names_is_kept_without_its_tags():
    """Tags are kept in a column of their own."""
    found = noted(metadata={"a": "b", "tags": ["t"]}, litellm_metadata={"team": {"id": 1}})

    assert found == Notes(metadata={"a": "b", "team": {"id": 1}})


def test_a_session_has_a_name_in_many_places():
    """The body's own field, then the header, then metadata."""
    header = ("x-litellm-session-id", "h")

    assert noted(header, litellm_session_id="b", metadata={"session_id": "m"}).session_id == "b"
    assert noted(header, metadata={"session_id": "m"}).session_id == "h"
    assert noted(metadata={"trace_id": "t"}).session_id == "t"


def test_metadata_for_the_ledger_comes_in_a_header_too():
    """As JSON."""
    found = noted(("x-litellm-spend-logs-metadata", '{"project": 7}'))

    assert found.metadata == {"spend_logs_metadata": {"project": 7}}


def test_what_cannot_be_kept_is_not():
    """No object, no JSON, too long: nothing is refused over it."""
    assert noted(metadata="text") == Notes()
    assert noted(metadata={"a": "x" * 9000}) == Notes()
    assert noted(("x-litellm-spend-logs-metadata", "{")).metadata == {"spend_logs_metadata": {}}
    assert noted(litellm_session_id=7) == Notes()
    assert noted() == Notes()


def test_the_prompt_is_found_by_the_name_that_its_path_gives_it():
    """As it came; a call without one has none."""

    def asked(**fields):
        raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}
        return prompt_of(Call(request_id="r", operation=Operation.CHAT, model="m", body=b"{}", fields=raw))

    assert asked(model="m", messages=[{"role": "user"}]) == b'[{"role":"user"}]'
    assert asked(input="word") == b'"word"'
    assert asked(model="m") == b""
