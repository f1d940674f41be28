"""Forms: the same parts at every cut, bounded, and refused where two readers could differ."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.errors import InvalidRequest
from proxy_cli.wire.form import MAX_TEXT_BYTES, Form, boundary_of

BOUNDARY = b"----WebKitFormBoundary7MA4"


def part(name: str, value: bytes, more: str = "") -> bytes:
    return f'Content-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value


def form(*parts: bytes, boundary: bytes = BOUNDARY) -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + some + b"\r\n" for some in parts) + b"--" + boundary + b"--\r\n"


FILE = part(
    "file", b"\r\n--RIFF\r\n------WebKitFormBoundary7MA\r\n\x00\xff", '; filename="a.wav"\r\nContent-Type: audio/wav'
)
WHOLE = form(
    part("language", b"ja"), FILE, part("model", "ささやき".encode()), part("prompt", b""), part("stream", b"true")
)


def scanned(*pieces: bytes, boundary: bytes = BOUNDARY) -> Form:
    found = Form(boundary)
    for piece in pieces:
        found.feed(piece)
    found.finish()
    return found


def refusal(body: bytes, boundary: bytes = BOUNDARY) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        scanned(body, boundary=boundary)
    return caught.value


def test_a_form_is_read_at_every_cut():
    """Model, its place, the small fields, the names: whole, in two pieces at every byte, and byte by byte."""
    cuts = [[WHOLE[:at], WHOLE[at:]] for at in range(len(WHOLE) + 1)]

    for pieces in [[WHOLE], *cuts, [WHOLE[at : at + 1] for at in range(len(WHOLE))]]:
        found = scanned(*pieces)

        assert found.model == "ささやき"
        assert found.model_span is not None
        assert WHOLE[slice(*found.model_span)] == "ささやき".encode()
        assert found.fields == {"language": "ja", "prompt": "", "stream": "true"}
        assert found.names == {"language", "file", "model", "prompt", "stream"}
        assert WHOLE[found.settled :] == b"\r\n--" + BOUNDARY + b"--\r\n"


@given(
    st.binary(max_size=60).filter(lambda content: b"\r\n----x--" not in content),
    st.lists(st.integers(0, 400), max_size=6),
)
def test_any_content_is_content(content, cuts):
    """Nothing in a file ends it but its boundary."""
    body = form(part("file", content, '; filename=""'), part("model", b"m"), boundary=b"--x--")
    places = sorted({0, len(body), *(min(cut, len(body)) for cut in cuts)})
    pieces = [body[start:end] for start, end in pairwise(places)]

    assert scanned(*pieces, boundary=b"--x--").model == "m"


def test_a_file_is_known_while_it_passes():
    """From its headers to the delimiter after it."""
    found = Form(BOUNDARY)
    before, after = WHOLE.split(b"RIFF")

    found.feed(before)
    inside = found.in_file
    found.feed(after)

    assert inside
    assert not found.in_file


@pytest.mark.row("A-26", "H-27")
@pytest.mark.parametrize("name", ["../../x", "C:\\\\x", "", "日本.wav", "a; b=c.wav", "x" * 10_000])
def test_file_names_are_not_ours(name):
    """Whatever a client calls its file, it is a file and nothing is made of the name."""
    body = form(part("file", b"x", f'; filename="{name}"'), part("model", b"m"))

    assert scanned(body).fields == {}


def test_values_are_bounded():
    """A long text is passed on and not kept; a long model name is refused."""
    exact, longer = b"x" * MAX_TEXT_BYTES, b"x" * (MAX_TEXT_BYTES + 1)

    assert scanned(form(part("prompt", exact))).fields == {"prompt": exact.decode()}
    assert scanned(form(part("prompt", longer))).fields == {}
    assert scanned(form(part("model", exact))).model == exact.decode()
    assert refusal(form(part("model", longer))).param == "model"


@pytest.mark.row("H-06")
@pytest.mark.parametrize("name", ["model", "stream"])
def test_a_field_that_decides_comes_once(name):
    """A second one would leave open which of them the backend takes."""
    assert refusal(form(part(name, b"a"), FILE, part(name, b"b"))).param == name
    assert scanned(form(part("timestamp_granularities[]", b"a"), part("timestamp_granularities[]", b"b"))).names


@pytest.mark.row("A-19")
@pytest.mark.parametrize("name", ["api_base", "metadata[api_base]", "extra_body[api_key]"])
def test_the_operators_fields_are_refused(name):
    """In forms as in JSON."""
    assert refusal(form(part("model", b"m"), part(name, b"http://canary"))).param == name


@pytest.mark.row("H-27")
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (form(*[part("a", b"")] * 101), "more than 100 parts"),
        (form(*[part("a", b"")] * 10_000), "more than 100 parts"),
        (form(part("a", b"", "\r\nX: " + "x" * 20_000)), "more than 16384 bytes"),
        (form(part("a", b"", "\r\nX: " + "x" * 1_000_000)), "more than 16384 bytes"),
        (WHOLE[:-4], "closing boundary"),
        (WHOLE[: WHOLE.index(b"RIFF")], "closing boundary"),
        (b"", "closing boundary"),
        (form(), "no parts"),
        (b"\r\n" + WHOLE, "begin with its boundary"),
        (b"preamble\r\n" + WHOLE, "begin with its boundary"),
        (WHOLE + WHOLE, "after its closing boundary"),
        (WHOLE.replace(BOUNDARY + b"\r\n", BOUNDARY + b"x\r\n"), "followed by"),
        (WHOLE.replace(BOUNDARY + b"\r\n", BOUNDARY + b" \r\n"), "followed by"),
        (WHOLE.replace(b"\r\n", b"\n"), "begin with|followed by"),
        (form(b"\r\nx"), "no Content-Disposition"),
        (form(b"Content-Type: text/plain\r\n\r\nx"), "no Content-Disposition"),
        (form(b"nonsense\r\n\r\nx"), "header line"),
        (form(part("a", b"", "\r\n folded: x")), "header line"),
        (form(b"Content-Disposition: attachment\r\n\r\nx"), "no plain name"),
        (form(part('mo\\"del', b"x")), "no plain name"),
        (form(part("a", b"", "\r\nContent-Disposition: form-data; name=b")), "two Content-Dispositions"),
        (form(part("a", b"", '; filename="\\"; name="model"')), "two names"),
        (form(part("a", b"", "; name*=utf-8''model")), "two names"),
        (form(part("a", b"", "\r\nContent-Transfer-Encoding: base64")), "Transfer-Encoding"),
        (form(b'Content-Disposition: form-data; name="\xff"\r\n\r\nx'), "not UTF-8"),
        (form(part("model", b"\xff")), "not UTF-8"),
        (form(part("model", b"m", '; filename="m"')), "not a file"),
        (form(b'X: y\nContent-Disposition: form-data; name="model"\r\n' + part("a", b"m")), "control character"),
        (form(b'X: y\rContent-Disposition: form-data; name="model"\r\n' + part("a", b"m")), "control character"),
        (form(part("model\0", b"m")), "control character"),
        (form(part("_charset_", b"utf-16"), part("model", b"m")), "_charset_"),
    ],
)
def test_what_is_no_plain_form_is_refused(body, words):
    """400 with what is wrong; in one piece and in small ones."""
    assert re.search(words, refusal(body).message)
    with pytest.raises(InvalidRequest, match=words):
        scanned(*[body[at : at + 100] for at in range(0, len(body), 100)])


def test_header_spellings_that_mean_the_same_are_read():
    """Unquoted names, any case, a declared plain encoding."""
    body = form(
        b"content-disposition: FORM-DATA;name=model\r\nContent-Transfer-Encoding: 8bit\r\n\r\nm",
        b"Content-Type: audio/wav\r\nContent-Disposition: form-data; name=file; filename=x; filename*=u''x\r\n\r\nx",
    )

    assert scanned(body).model == "m"
    assert scanned(body).names == {"model", "file"}


@pytest.mark.row("H-27")
@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('multipart/form-data; charset=utf-8; Boundary="a b"', b"a b"),
        ("multipart/form-data; boundary=" + "-" * 70, b"-" * 70),
        ("multipart/form-data; boundary=" + "-" * 71, None),
        ("multipart/form-data; boundary=" + "-" * 1_000_000, None),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
        ("multipart/form-data; boundary=a; boundary=b", None),
        ('multipart/form-data; boundary="a "', None),
        ("multipart/form-data; boundary=a{b", None),
        ("multipart/form-data; boundary=日本", None),
    ],
)
def test_boundaries_are_bounded(content_type, boundary):
    """One, of at most 70 of the characters that RFC 2046 allows."""
    if boundary is not None:
        assert boundary_of(content_type) == boundary
        return
    with pytest.raises(InvalidRequest, match=r"boundary|content type"):
        boundary_of(content_type)
