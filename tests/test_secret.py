import copy
import json
import pickle

import pytest

from proxy_cli.secret import Scrubber, Secret, hint

TEXT = "sk-0123456789abcdef"


@pytest.mark.row("P-06")
@pytest.mark.parametrize("shown", [str, repr, "{}".format, "%s".__mod__, lambda secret: f"{[secret]!r}"])
def test_a_secret_prints_as_stars(shown):
    """However Python shows the value, the text is not in it."""
    assert TEXT not in shown(Secret(TEXT))
    assert "***" in shown(Secret(TEXT))


@pytest.mark.parametrize("leak", [pickle.dumps, copy.copy, json.dumps])
def test_a_secret_is_not_serialised(leak):
    """Neither pickled nor written as JSON by accident."""
    with pytest.raises(TypeError):
        leak(Secret(TEXT))


def test_secrets_compare_by_their_text():
    """Two of the same text are equal, hash alike, and an empty one is false."""
    assert Secret(TEXT) == Secret(TEXT)
    assert len({Secret(TEXT), Secret(TEXT)}) == 1
    assert not Secret("")
    assert Secret(TEXT).reveal() == TEXT


@pytest.mark.parametrize(
    ("text", "shown"), [("short", "***"), (TEXT, "sk-…cdef"), ("a" * 16, "…aaaa"), ("a" * 15, "***")]
)
def test_a_hint_shows_the_end_of_a_long_key_only(text, shown):
    """Enough to recognise a key by, nothing of a short one."""
    assert hint(text) == shown


def test_known_secrets_are_scrubbed_longest_first():
    """A secret that contains another is masked whole; everyday short words are left alone."""
    scrubber = Scrubber([Secret("sk-abcdef12"), Secret("sk-abcdef12-longer"), Secret("None")])

    assert scrubber.scrub("None: sk-abcdef12-longer, sk-abcdef12") == "None: ***, ***"
    assert scrubber.scrub_bytes(b"x sk-abcdef12 y") == b"x *** y"


def test_secret_outline_is_its_length_and_its_end():
    """Of a short one the length alone."""
    assert Secret("sk-0123456789abcdef").outline() == "19 characters, sk-…cdef"
    assert Secret("sk-012345").outline() == "9 characters"
