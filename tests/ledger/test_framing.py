"""Records as bytes, and bytes as records."""

from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.ledger.framing import CLOSED, INTENT, KIND_AT, SEALED, SETTLED, VOID, Stop, frame, records

contents = st.lists(st.tuples(st.sampled_from([INTENT, SETTLED, VOID]), st.binary(min_size=1, max_size=60)), max_size=6)


@given(contents, st.integers(0, 1000))
def test_what_was_framed_is_read_back_with_its_place(content, at):
    """Records come back in order, each with the place at which it stands."""
    framed = [frame(kind, data) for kind, data in content]

    found, stop = records(b"".join(framed) + bytes(20), at)

    assert [(each.kind, bytes(each.data)) for each in found] == content
    assert [each.end - each.at for each in found] == [len(each) for each in framed]
    assert [each.at for each in found[:1]] == [at] * bool(content)
    assert stop is Stop.END


@given(contents.filter(bool), st.data())
def test_bytes_that_were_cut_give_the_whole_records_before_the_cut(content, data):
    """Wherever bytes end, the records before that are read, and none that is not whole."""
    framed = [frame(kind, each) for kind, each in content]
    whole = b"".join(framed)
    cut = data.draw(st.integers(0, len(whole)))

    found, stop = records(whole[:cut], 0)

    ends = [sum(map(len, framed[: number + 1])) for number in range(len(framed))]
    assert [each.end for each in found] == [end for end in ends if end <= cut]
    assert stop is Stop.MORE


@given(contents.filter(bool), st.data())
def test_a_changed_byte_never_makes_another_record(content, data):
    """Whatever byte is changed, what is read is a beginning of what was written, or an intent that was closed."""
    whole = bytearray(b"".join(frame(kind, each) for kind, each in content) + bytes(20))
    at = data.draw(st.integers(0, len(whole) - 21))
    whole[at] ^= data.draw(st.integers(1, 255))

    found, _ = records(bytes(whole), 0)

    said = [bytes(each.data) for each in found]
    assert said == [each for _, each in content][: len(said)]


def test_a_record_that_is_half_written_is_none_yet():
    """A length without its data is what a killed writer leaves: it is torn, not the end."""
    whole = frame(SETTLED, b"x" * 30)

    found, stop = records(whole[:20] + bytes(60), 0)

    assert (found, stop) == ([], Stop.TORN)


def test_a_seal_ends_a_segment_whatever_lies_behind_it():
    """What stands behind a seal is not read."""
    found, stop = records(frame(VOID, b"a") + SEALED + frame(VOID, b"b"), 0)

    assert [bytes(each.data) for each in found] == [b"a"]
    assert stop is Stop.SEAL


def test_an_intent_can_be_marked_as_closed_in_its_place():
    """The one byte of the kind changes, and the record stays whole."""
    whole = bytearray(frame(INTENT, b"row"))
    whole[KIND_AT] = CLOSED

    found, _ = records(bytes(whole), 0)

    assert [(each.kind, bytes(each.data)) for each in found] == [(CLOSED, b"row")]
