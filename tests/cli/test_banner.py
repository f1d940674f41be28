"""What is printed at start: where each model goes, the address, and a line that works."""

import json
import shlex

import click
import pytest

from proxy_cli.cli.banner import ModelRow, curl_line, start_lines
from proxy_cli.shapes import Json

ROWS = [
    ModelRow("gpt-3.5-turbo", "vicuna-13b", "openai", "http://host.docker.internal:20080/v1"),
    ModelRow("日本語モデル", "karakuri-70b", "openai", "http://host.docker.internal:30080/v1"),
]


def printed(**more: Json) -> str:
    settings = {"warnings": (), "version": "1.2.3", "json_logs": False, **more}
    rows = settings.pop("rows", ROWS)
    return "\n".join(start_lines(rows, ["http://0.0.0.0:10080"], **settings))


def test_table_says_where_each_model_goes():
    """Each deployment stands on one line with its backend's model and address."""
    lines = printed().splitlines()

    [row] = [line for line in lines if "日本語モデル" in line]
    assert all(cell in row for cell in ("karakuri-70b", "openai", "http://host.docker.internal:30080/v1"))
    assert any("gpt-3.5-turbo" in line and "vicuna-13b" in line for line in lines)


def test_what_is_news_is_no_warning():
    """Neither on the terminal nor in the log's line."""
    made = ["a new database was made: /data/a.db"]

    shown = click.unstyle(printed(notes=made))
    logged = json.loads(printed(notes=made, json_logs=True))

    assert "note: a new database was made: /data/a.db" in shown
    assert "warning" not in shown
    assert (logged["notes"], logged["warnings"]) == (made, [])


def test_address_version_and_warnings_are_printed():
    """Below the table come the warnings, the version, and the address that is listened on."""
    text = click.unstyle(printed(warnings=["no master key is set"]))

    assert "warning: no master key is set" in text
    assert "llmproxy 1.2.3 on http://0.0.0.0:10080" in text


def test_line_to_try_is_one_unbroken_command():
    """The curl line has no line end inside, names the first model, and goes to an address that can be reached."""
    [line] = [line for line in printed().splitlines() if line.startswith("try: ")]
    words = shlex.split(line.removeprefix("try: "))

    assert words[:2] == ["curl", "http://localhost:10080/v1/chat/completions"]
    assert json.loads(words[-1])["model"] == "gpt-3.5-turbo"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://0.0.0.0:4000", "http://localhost:4000"),
        ("https://[::]:443/proxy/", "https://localhost:443/proxy"),
        ("http://127.0.0.1:4000", "http://127.0.0.1:4000"),
    ],
)
def test_line_to_try_never_names_all_interfaces(address, shown):
    """Nobody can connect to 0.0.0.0; an address of one interface stays."""
    assert shlex.split(curl_line(address, "m", needs_key=False))[1] == f"{shown}/v1/chat/completions"


def test_line_to_try_shows_where_a_key_goes():
    """Where a key is needed the line has a place for it; else it has none."""
    assert "Bearer YOUR_KEY" in curl_line("http://h", "m", needs_key=True)
    assert "Bearer" not in curl_line("http://h", "m", needs_key=False)


@pytest.mark.row("A-40")
def test_hostile_names_are_neither_markup_nor_control():
    """A name with markup, a line end or an escape sequence is shown as text."""
    printed_text = printed(rows=[ModelRow("[red]a\nb\x1b[2J", "m", "openai", "http://x")], warnings=["[bold]w\nx"])
    text = click.unstyle(printed_text)

    assert "[red]a\\nb\\x1b[2J" in text
    assert "warning: [bold]w\\nx" in text
    assert "\x1b" not in text


def test_many_models_are_counted_not_listed():
    """A file of thousands of entries does not scroll everything else away."""
    text = printed(rows=[ModelRow(f"m{number}", "x", "openai", "http://x") for number in range(1000)])

    assert len(text.splitlines()) < 60
    assert "and 960 more" in text


def test_wildcard_is_no_name_to_try():
    """The line to try asks for a name that can be asked for."""
    text = printed(rows=[ModelRow("openai/*", "*", "openai", "http://x"), *ROWS])

    assert '"model": "gpt-3.5-turbo"' in text


def test_start_is_one_json_line_where_logs_are_json():
    """With `json_logs` everything is one line."""
    [line] = printed(json_logs=True, warnings=["careful"]).splitlines()

    values = json.loads(line)
    assert values["models"][1]["name"] == "日本語モデル"
    assert (values["addresses"], values["warnings"]) == (["http://0.0.0.0:10080"], ["careful"])
    assert "日本語モデル" in line
