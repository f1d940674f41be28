"""What --save and --add_key keep: found again, private, and never guessed at."""

import stat

import click
import pytest

from proxy_cli.cli import saved


def test_saved_model_is_found_again_and_yields_to_the_command_line(tmp_path):
    """The defaults fill what was not said; what was said wins."""
    given = {"model": "openai/m", "api_base": "http://one", "temperature": 0.5, "headers": {"X-Team": "検索"}}
    saved.keep_model(tmp_path, given)

    found = saved.with_saved_model(tmp_path, {"model": "openai/m", "api_base": "http://two", "temperature": None})

    assert found == {"model": "openai/m", "api_base": "http://two", "temperature": 0.5, "headers": {"X-Team": "検索"}}


def test_saved_model_is_found_by_its_alias(tmp_path):
    """`--alias` names the entry; a later --model with that name means the whole of it."""
    entry, _ = saved.keep_model(tmp_path, {"model": "openai/long/name", "alias": "short", "max_tokens": 9})

    found = saved.with_saved_model(tmp_path, {"model": "short"})

    assert entry == "short"
    assert found == {"model": "openai/long/name", "alias": "short", "max_tokens": 9}


def test_saved_model_leaves_others_alone(tmp_path):
    """A second model is added, a second time the same is replaced."""
    saved.keep_model(tmp_path, {"model": "a", "max_tokens": 1})
    saved.keep_model(tmp_path, {"model": "b", "max_tokens": 2})
    saved.keep_model(tmp_path, {"model": "a", "temperature": 0.0})

    assert saved.with_saved_model(tmp_path, {"model": "a"}) == {"model": "a", "temperature": 0.0}
    assert saved.with_saved_model(tmp_path, {"model": "b"}) == {"model": "b", "max_tokens": 2}


def test_saved_files_are_for_their_owner_alone(tmp_path):
    """Keys, and headers that may hold keys, are not for other users."""
    _, models = saved.keep_model(tmp_path / "new", {"model": "a"})
    secrets = saved.keep_key(tmp_path / "new", "OPENAI_API_KEY", "sk-1")

    assert [stat.S_IMODE(file.stat().st_mode) for file in (models, secrets)] == [0o600, 0o600]
    assert sorted(file.name for file in secrets.parent.iterdir()) == ["models.yaml", "secrets.env"]


def test_saved_file_of_keys_that_others_may_read_is_noticed(tmp_path):
    """Somebody has changed its mode: that is worth a line."""
    file = saved.keep_key(tmp_path, "OPENAI_API_KEY", "sk-1")

    assert saved.open_to_others(tmp_path) is None
    file.chmod(0o644)
    assert saved.open_to_others(tmp_path) == file


def test_saved_keys_are_read_as_they_were_given(tmp_path):
    """No quoting, no expansion; a newer one takes the place of an older one."""
    for name, value in [("A", "x=y#z $HOME 'q'"), ("B", "old"), ("B", "new")]:
        saved.keep_key(tmp_path, name, value)

    assert saved.read_keys(tmp_path) == {"A": "x=y#z $HOME 'q'", "B": "new"}


def test_saved_files_that_are_not_there_hold_nothing(tmp_path):
    """The usual case."""
    assert saved.read_keys(tmp_path / "none") == {}
    assert saved.with_saved_model(tmp_path / "none", {"model": "m"}) == {"model": "m"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("models: [", r"models.yaml:1:10: not valid YAML"),
        ("- a", "the key 'models' is missing"),
        ("models: {m: 3}", "the entry 'm' names no model"),
        ("models: {m: {model: x, modle: y}}", "the entry 'm' has an unknown key 'modle'"),
        ("models: {m: {model: x, max_tokens: many}}", "max_tokens of the entry 'm': 'many' is not a whole number"),
        ("models: {m: {model: x, drop_params: perhaps}}", "drop_params of the entry 'm': 'perhaps' is neither"),
    ],
)
def test_saved_models_that_are_broken_are_one_sentence(tmp_path, text, sentence):
    """Which file, what is wrong, what to do."""
    (tmp_path / "models.yaml").write_text(text)

    with pytest.raises(click.UsageError, match=sentence) as caught:
        saved.with_saved_model(tmp_path, {"model": "m"})

    assert "\n" not in caught.value.message
    assert "remove it" in caught.value.message


def test_saved_keys_that_are_broken_are_one_sentence_without_the_key(tmp_path):
    """The line's number is enough to find it."""
    (tmp_path / "secrets.env").write_text("# ok\nsk-very-secret\n")

    with pytest.raises(click.UsageError, match=r"secrets.env:2: give a variable's name") as caught:
        saved.read_keys(tmp_path)

    assert "very-secret" not in caught.value.message


def test_saved_folder_can_be_named(tmp_path):
    """For tests, containers and people with two sets of keys."""
    assert saved.folder({"LLMPROXY_CONFIG_DIR": str(tmp_path)}) == tmp_path
    assert saved.folder({}).name == "llmproxy"


def test_saved_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    """A file stands where the folder should."""
    (tmp_path / "file").write_text("")

    with pytest.raises(click.ClickException, match="cannot be written: "):
        saved.keep_key(tmp_path / "file", "A", "b")
