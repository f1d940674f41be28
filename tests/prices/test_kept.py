"""Prices taken from a file."""

import gzip
import json
from datetime import UTC, datetime

import pytest

from proxy_cli.prices.kept import FILE_NAME, BadPrices, forget, load, read, take

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
ENTRY = {"litellm_provider": "openai", "input_cost_per_token": 1e-06}


def written(folder, found):
    path = folder / "list.json"
    path.write_text(found if isinstance(found, str) else json.dumps(found))
    return path


def test_what_was_taken_is_read_with_its_date(tmp_path):
    """The entries as they were, and a sentence for operators."""
    data = tmp_path / "data"

    assert take(written(tmp_path, {"m": ENTRY}), data, NOW) == (1, ())

    kept = read(data)
    assert {name: json.loads(bytes(raw)) for name, raw in kept.entries.items()} == {"m": ENTRY}
    assert kept.note == "prices of 1 models are those of list.json, taken on 2026-11-23"
    assert [path.name for path in data.iterdir()] == [FILE_NAME]


def test_nothing_kept_is_nothing(tmp_path):
    """No file, no word."""
    assert (read(tmp_path).entries, read(tmp_path).note) == ({}, "")
    assert forget(tmp_path) is False


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b"[]"), gzip.compress(b"{}"), gzip.compress(b'{"llmproxy_note": 7}')],
    ids=["nothing", "not gzip", "a list", "no prices", "a bad note"],  # gzip writes down when it was made
)
def test_what_cannot_be_read_is_told_and_changes_nothing(tmp_path, content):
    """The prices that ship hold."""
    (tmp_path / FILE_NAME).write_bytes(content)

    kept = read(tmp_path)

    assert kept.entries == {}
    assert "cannot be read, so those that ship hold; take them again" in kept.note
    assert forget(tmp_path) is True


@pytest.mark.row("B-19")
@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("{", "is no JSON"),
        ("[1]", "holds no object"),
        ({"sample_spec": {}}, "names no model"),
        ({"m": 7}, "m: 7 is no object"),
        ({"m": {"input_cost_per_token": -1e-06}}, "m: input_cost_per_token is -1e-06; write USD as a number"),
        ({"m": {"input_cost_per_token": "NaN"}}, "m: input_cost_per_token is NaN; write USD as a number"),
        ({"m": {"input_cost_per_token": "1e-6"}}, "m: input_cost_per_token is 1e-6; write USD as a number"),
        ({"m": {"output_cost_per_image": True}}, "m: output_cost_per_image is True"),
        ({"m": {"search_context_cost_per_query": {"search_context_size_low": -1}}},
         "m: search_context_cost_per_query.search_context_size_low is -1"),
        ({"m": {"tiered_pricing": [{"range": [0, 5], "input_cost_per_token": -1}]}},
         r"m: tiered_pricing\[0\].input_cost_per_token is -1"),
    ],
)  # fmt: skip
def test_a_price_that_is_none_is_refused(tmp_path, found, said):
    """The model and the field are named, and nothing is kept."""
    data = tmp_path / "data"

    with pytest.raises(BadPrices, match=said):
        take(written(tmp_path, found), data, NOW)

    assert not data.exists()


def test_all_that_is_wrong_is_said_at_once(tmp_path):
    """One line each."""
    path = written(tmp_path, {"a": {"input_cost_per_token": -1, "output_cost_per_token": -2}, "b": 5})

    with pytest.raises(BadPrices) as caught:
        load(path)

    assert len(str(caught.value).splitlines()) == 3


def test_doubts_do_not_keep_a_file_out(tmp_path):
    """A name that is no price, and a model that is nobody's."""
    models, doubts = load(written(tmp_path, {"m": {"input_cost_per_tokn": 1, "off_peak_pricing": {"windows": []}}}))

    assert list(models) == ["m"]
    assert "input_cost_per_tokn is no price that is known here and counts for nothing (in 1 models)" in doubts
    assert any("name no litellm_provider" in doubt for doubt in doubts)


def test_a_file_without_an_end_is_not_read(tmp_path):
    """A price list has three megabytes."""
    path = tmp_path / "long.json"
    with path.open("wb") as file:
        file.truncate(65 * 1024 * 1024)

    with pytest.raises(BadPrices, match="larger than 64 MiB"):
        load(path)
