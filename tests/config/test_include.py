"""Configurations in several files."""

import pytest

from proxy_cli.config.include import gather
from proxy_cli.config.load import load
from proxy_cli.config.problem import Severity


def entry(name):
    """A file with one model."""
    return f"model_list:\n  - model_name: {name}\n    litellm_params: {{model: openai/{name}}}\n"


def write(folder, files):
    """Files by name; the first one is the root's path."""
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
        file.chmod(0o600)
    return folder / next(iter(files))


def lines(folder, gathered):
    """Problems without the folder."""
    return [str(problem).replace(f"{folder}/", "") for problem in gathered.problems]


def test_lists_are_joined_and_all_else_is_the_included_files(tmp_path):
    """As with LiteLLM: models add up, sections are replaced as a whole, and that is said."""
    root = write(
        tmp_path,
        {
            "config.yaml": "include: [parts/more.yaml]\nlitellm_settings: {drop_params: true}\n" + entry("one"),
            "parts/more.yaml": "include: deep.yaml\nlitellm_settings: {json_logs: true}\n" + entry("two"),
            "parts/deep.yaml": entry("three"),
        },
    )

    loaded = load(root, {})

    assert loaded.config is not None
    assert [each.model_name for each in loaded.config.model_list] == ["one", "two", "three"]
    assert loaded.config.litellm_settings.json_logs
    assert not loaded.config.litellm_settings.drop_params
    assert [each.name for each in loaded.files] == ["config.yaml", "more.yaml", "deep.yaml"]
    assert "litellm_settings: replaced as a whole by the one in" in str(loaded.problems[0])


def test_a_problem_in_an_included_file_has_that_files_place(tmp_path):
    """Each part of the whole leads back to its own file."""
    root = write(
        tmp_path,
        {
            "config.yaml": "include: [more.yaml]\n" + entry("one"),
            "more.yaml": "\n\n" + entry("two") + "modle_list: 1\n",
        },
    )

    loaded = load(root, {})

    assert str(loaded.place(("model_list", 1, "model_name"))) == f"{tmp_path}/more.yaml:4:17"
    assert str(loaded.problems[0]).startswith(f"{tmp_path}/more.yaml:6:1: modle_list: no such setting")


@pytest.mark.row("C-46")
@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"a.yaml": "include: [b.yaml]\n", "b.yaml": "include: [a.yaml]\n"},
            "b.yaml:1:11: include[0]: these files include each other: a.yaml -> b.yaml -> a.yaml",
        ),
        ({"a.yaml": "include: [a.yaml]\n"}, "these files include each other: a.yaml -> a.yaml"),
        ({"a.yaml": "include: nope.yaml\n"}, "a.yaml:1:10: include: nope.yaml: no such file (a.yaml -> nope.yaml)"),
        ({"a.yaml": "include: [sub]\n", "sub/x.yaml": ""}, "sub: this is a directory, not a file (a.yaml -> sub)"),
        ({"sub/a.yaml": "include: [../b.yaml]\n", "b.yaml": entry("b")}, "b.yaml lies outside the folder"),
        ({"a.yaml": "include: [/etc/hostname]\n"}, "hostname lies outside the folder"),
        ({"a.yaml": "include: [yes]\n"}, "expected the path of a file, got a boolean (yes)"),
        ({"a.yaml": "include: {b: c}\n"}, "expected the path of a file, got a mapping"),
        ({"a.yaml": "include: [b.yaml]\n", "b.yaml": ""}, "b.yaml: the configuration is empty (a.yaml -> b.yaml)"),
    ],
)
def test_an_include_that_cannot_be_is_an_error_with_its_chain(tmp_path, files, said):
    """Where the include stands, and by which way it was reached."""
    gathered = gather(write(tmp_path, files))

    assert any(said in line for line in lines(tmp_path, gathered)), lines(tmp_path, gathered)
    assert {each.severity for each in gathered.problems} == {Severity.ERROR}


@pytest.mark.row("C-46")
def test_a_hundred_files_deep_ends_with_an_error(tmp_path):
    """A chain of includes is followed so far and no further."""
    files = {f"{number}.yaml": f"include: [{number + 1}.yaml]\n" for number in range(100)} | {"100.yaml": entry("x")}

    gathered = gather(write(tmp_path, files))

    assert len(gathered.documents) == 16
    assert ["more than 16 files deep" in line for line in lines(tmp_path, gathered)] == [True]


@pytest.mark.row("C-46")
def test_a_loop_of_symbolic_links_is_an_error(tmp_path):
    """A link that leads to itself is no file."""
    root = write(tmp_path, {"a.yaml": "include: [loop.yaml]\n"})
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")

    gathered = gather(root)

    assert ["loop.yaml" in line and "symbolic link" in line for line in lines(tmp_path, gathered)] == [True]


@pytest.mark.row("C-46")
def test_a_link_out_of_the_folder_is_an_error(tmp_path):
    """Where a link leads counts, not where it lies."""
    write(tmp_path, {"outside.yaml": entry("x")})
    root = write(tmp_path / "inside", {"a.yaml": "include: [link.yaml]\n"})
    (tmp_path / "inside" / "link.yaml").symlink_to(tmp_path / "outside.yaml")

    gathered = gather(root)

    assert ["lies outside" in line for line in lines(tmp_path, gathered)] == [True]


def test_a_file_that_is_included_twice_counts_once(tmp_path):
    """Two ways to one file do not double its models."""
    root = write(
        tmp_path,
        {
            "a.yaml": "include: [b.yaml, c.yaml]\n",
            "b.yaml": "include: [c.yaml]\n",
            "c.yaml": entry("one"),
        },
    )

    gathered = gather(root)

    assert len(gathered.values["model_list"]) == 1
    assert ["counts once" in line for line in lines(tmp_path, gathered)] == [True]


def test_a_folder_that_is_mounted_by_links_is_its_own_base(tmp_path):
    """Kubernetes mounts a folder's files as links into a dated folder beside them."""
    write(tmp_path / "..2024", {"config.yaml": "include: [models.yaml]\n", "models.yaml": entry("one")})
    for name in ("config.yaml", "models.yaml"):
        (tmp_path / name).symlink_to(tmp_path / "..2024" / name)

    gathered = gather(tmp_path / "config.yaml")

    assert gathered.problems == []
    assert len(gathered.values["model_list"]) == 1
