"""A config file as a document: values, places, and all that can be wrong with YAML itself."""

import os
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy_cli.config.problem import Place, Problem, Severity
from proxy_cli.config.scalar import Scalar, plain
from proxy_cli.config.source import parse, read

EXAMPLES = 20_000 if os.environ.get("LLMPROXY_DEEP") == "1" else 400
GOOD = """\
model_list:
  - model_name: gpt-3.5-turbo   # what callers ask for
    litellm_params:
      model: openai/vicuna-13b
      api_base: http://localhost:20080/v1
      api_key: None
      rpm: 60
  - model_name: "日本語モデル"
    litellm_params: {model: azure/gpt-4o, api_version: 2024-10-21, stream: yes}
general_settings:
  master_key: sk-1234
"""


def lines(source: str | bytes) -> list[str]:
    data = source.encode() if isinstance(source, str) else source
    return [str(problem) for problem in parse(data, "c.yaml")[1]]


def document(source: str | bytes) -> Any:
    data = source.encode() if isinstance(source, str) else source
    found, problems = parse(data, "c.yaml")
    assert found is not None
    assert problems == []
    return found


def test_a_good_file_becomes_values_without_a_problem():
    """Every value is there, with the text as written."""
    values = document(GOOD).values

    assert values["model_list"][1]["model_name"] == Scalar("日本語モデル", True, "text")
    assert plain(values)["model_list"][0]["litellm_params"]["rpm"] == 60
    assert plain(values)["model_list"][1]["litellm_params"] == {
        "model": "azure/gpt-4o",
        "api_version": "2024-10-21",
        "stream": True,
    }


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        (("model_list",), (2, 3), (1, 1)),
        (("model_list", 0), (2, 5), (2, 5)),
        (("model_list", 0, "litellm_params", "rpm"), (7, 12), (7, 7)),
        (("model_list", 1, "litellm_params", "model"), (9, 29), (9, 22)),
        (("model_list", 0, "litellm_params", "modle"), (4, 7), (4, 7)),
        (("model_list", 0, "nothing", "below"), (2, 5), (2, 5)),
        (("model_list", 7), (2, 3), (2, 3)),
        (("model_list", "word"), (2, 3), (2, 3)),
        (("nothing",), (1, 1), (1, 1)),
        ((), (1, 1), (1, 1)),
    ],
)
def test_every_setting_has_a_place(path, value, key):
    """The value's and the key's own, or that of the nearest parent when the setting is missing."""
    found = document(GOOD)

    assert found.place(path) == Place("c.yaml", *value)
    assert found.key_place(path) == Place("c.yaml", *key)


def test_an_aliased_value_stands_where_it_is_written():
    """The cure belongs to the anchor, not to the place that uses it."""
    found = document("a: &x\n  b: 1\nc: *x\nd:\n  <<: *x\n")

    assert found.place(("c", "b")) == Place("c.yaml", 2, 6)
    assert found.place(("d", "b")) == Place("c.yaml", 2, 6)
    assert found.place(("c",)) == Place("c.yaml", 3, 4)


@pytest.mark.row("C-10")
@pytest.mark.parametrize("source", ["", "\n\n", "# only words\n", "---\n", "null\n", "~", "\ufeff"])
def test_an_empty_file_is_told_with_an_example(source):
    """Nothing at all, only comments and only `null` are one case."""
    (line,) = lines(source)

    assert "the configuration is empty" in line
    assert "model_list" in line


@pytest.mark.row("C-11")
@pytest.mark.parametrize("source", ["- a\n- b: 1\n", "hello\n", "5\n", "'x'\n", "[]"])
def test_the_top_level_must_be_a_mapping(source):
    """A list or a single value is told as what it is."""
    found, problems = parse(source.encode(), "c.yaml")

    assert found is None
    assert "c.yaml:1:1: the top level must be a mapping, got" in str(problems[0])


@pytest.mark.row("C-12")
def test_a_second_document_is_an_error_at_its_marker():
    """What stands before the marker is still read."""
    found, problems = parse(b"a: 1\n---\nb: 2\n", "c.yaml")

    assert str(problems[0]).startswith("c.yaml:2:1: a second document begins here")
    assert found is not None
    assert plain(found.values) == {"a": 1}


@pytest.mark.row("C-33")
@pytest.mark.parametrize("size", [5 * 1024 * 1024 + 1, 50_000_000])
def test_a_file_past_the_limit_is_not_parsed(size, tmp_path):
    """The size is told before any YAML is read, also for a file that is written sparsely."""
    path = tmp_path / "big.yaml"
    with path.open("wb") as file:
        file.truncate(size)

    found, problems = read(path)

    assert found is None
    assert [problem.message for problem in problems] == ["the file is larger than 5 MiB"]


@pytest.mark.row("C-33")
def test_bytes_past_the_limit_are_not_parsed():
    """The same holds for bytes that came another way."""
    assert "larger than 5 MiB" in lines(b"a: " + b"x" * 10_000_000)[0]


@pytest.mark.row("C-60")
def test_a_hundred_problems_are_a_hundred_lines_in_order():
    """Nobody mends one line, starts again and meets the next."""
    source = "".join(f"k{number}: {number}:30\n" for number in range(1, 101))

    problems = parse(source.encode(), "c.yaml")[1]

    assert [problem.place.line for problem in problems] == list(range(1, 101))
    assert len({str(problem) for problem in problems}) == 100


@pytest.mark.row("C-60")
def test_problems_of_different_kinds_are_told_together():
    """A byte that is no UTF-8, a double key, base 60, a tab and a wrong indent in one file: five lines."""
    source = b"a: \xff\na: 1\nb: 22:22\nc:\n\td: 1\ne: 1\n f: 2\n"

    found = lines(source)

    assert [line.split(":")[1] for line in found] == ["1", "2", "3", "5", "7"]


def test_too_many_problems_end_the_reading_with_a_word():
    """A file of nothing but slips does not fill the screen for ever."""
    problems = parse(b"a: 1\n" * 5000, "c.yaml")[1]

    assert len(problems) == 1001
    assert {problem.message for problem in problems[-2:]} >= {"too many problems: reading ends here"}


@pytest.mark.row("C-61")
def test_ten_thousand_deployments_and_a_thousand_keys_load():
    """Plain entries are bounded by the size of the file alone."""
    entries = "".join(
        f"  - model_name: m{number}\n    litellm_params:\n      model: openai/m{number}\n      api_base: http://h/v1\n"
        f"      api_key: sk-{number}\n      rpm: {number}\n      tpm: 5\n      timeout: 30\n      max_retries: 2\n"
        f"    model_info:\n      id: id-{number}\n"
        for number in range(10_000)
    )
    keys = "".join(f"  K{number}: v{number}\n" for number in range(1000))

    found = document(f"model_list:\n{entries}environment_variables:\n{keys}")

    assert len(found.values["model_list"]) == 10_000
    assert len(found.values["environment_variables"]) == 1000
    assert found.place(("model_list", 9_999, "model_info", "id")) == Place("c.yaml", 110_001, 11)


@pytest.mark.row("C-30")
def test_a_billion_laughs_are_refused_in_little_memory():
    """Nine lines of nine aliases each stand for 387 million nodes."""
    rows = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    source = "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x]", *rows]).encode()

    tracemalloc.start()
    found, problems = parse(source, "c.yaml")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert found is None
    assert "expand to more than 100,000 nodes" in problems[0].message
    assert peak < 20 * 1024 * 1024


@pytest.mark.row("C-31")
def test_a_merge_bomb_is_refused():
    """Merges that double themselves count each time, though they give but one key."""
    rows = [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 10)]

    found, problems = parse("\n".join(["a0: &a0 {k: v}", *rows]).encode(), "c.yaml")

    assert found is None
    assert "aliases and merges expand to more than 100,000 nodes" in problems[0].message


@pytest.mark.row("C-32")
@pytest.mark.parametrize("source", ["[" * 5000, "a: " + "[" * 5000 + "]" * 5000, "{" * 5000, "- " * 5000, "? " * 5000])
def test_deep_nesting_is_refused(source):
    """Sixty-four levels are enough for any config."""
    found, problems = parse(source.encode(), "c.yaml")

    assert found is None
    assert any("nested deeper than 64 levels" in problem.message for problem in problems)


@pytest.mark.row("C-34")
def test_a_tag_that_would_run_code_is_an_error_and_nothing_runs(tmp_path):
    """No tag ever builds a Python object."""
    proof = tmp_path / "proof"

    (line,) = lines(f'a: !!python/object/apply:os.system ["touch {proof}"]\n')

    assert "Python tags are refused" in line
    assert not proof.exists()


@pytest.mark.row("C-36")
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_unicode_encoding_is_read(codec):
    """With its byte order mark, and UTF-16 without one too."""
    assert plain(document(GOOD.encode(codec)).values) == plain(document(GOOD).values)


@pytest.mark.row("C-39")
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x85", "\u2028"])
def test_every_line_end_counts_as_one(end):
    """Line numbers are right whatever ends the lines."""
    assert lines(f"a: 1{end}b: 2{end}b: 3{end}")[0].startswith("c.yaml:3:1: b: duplicate key")


@pytest.mark.row("C-39")
def test_mixed_line_ends_count_as_one_each():
    """A file that several editors had in hand."""
    assert lines("a: 1\r\nb: 2\rc: 3\x85d: 4\nb: 5\r\n")[0].startswith("c.yaml:5:1: b: duplicate key")


@pytest.mark.row("C-41")
def test_japanese_and_emoji_stay_intact(tmp_path):
    """In names, values, paths of settings and the path of the file itself."""
    folder = tmp_path / "設定"
    folder.mkdir()
    path = folder / "構成.yaml"
    path.write_text("モデル一覧:\n  - 名前: ひらがな　全角 👩‍💻\n    名前: 二つ目\n", encoding="utf-8")

    found, problems = read(path)

    assert found is not None
    assert plain(found.values) == {"モデル一覧": [{"名前": "ひらがな　全角 👩‍💻"}]}
    assert f"{path}:3:5: モデル一覧[0].名前: duplicate key" in str(problems[0])


@pytest.mark.row("C-02")
@pytest.mark.row("C-50")
def test_reading_a_missing_file_is_a_problem_with_a_place(tmp_path):
    """The file's own name stands where the line would."""
    found, problems = read(tmp_path / "none.yaml")

    assert found is None
    assert str(problems[0]).startswith(f"{tmp_path / 'none.yaml'}:1:1: no such file")


def test_a_file_remembers_its_permissions(tmp_path):
    """So that secrets in it can be warned about."""
    path = tmp_path / "c.yaml"
    path.write_text("a: 1")
    path.chmod(0o640)

    found = read(path)[0]

    assert found is not None
    assert found.mode == 0o640
    assert document("a: 1").mode is None


def test_many_directives_are_refused():
    """Each would be compared with all before it."""
    source = "".join(f"%TAG !t{number}! x\n" for number in range(200_000))

    assert "lines begin with %" in lines(source)[0]


SECRETS = ("sk-abcdefghij1234567890", "hunter2-hunter2")
SLIPS = [
    'api_key: "{0}\nb: 1\n', "api_key: {0}: x\n", "api_key: @{0}\n", "api_key {0}\nb: 1\n", "a:\n\tapi_key: {0}\n",
    "api_key: {0}\napi_key: {0}\n", "api_key: !{0} x\n", "api_key: *{0}\n", "api_key: &{0} [*{0}]\n",
    "api_key: {{{0}}}\n", "api_key: {{{0}: 1, {0}: 2}}\n", "api_key: {0}\x00\n", "api_key: “{0}”\n", "api_key：{0}\n",
    "api_key: [? [{0}]]\n", "api_key: {0} #{0}\n", "'{0}'\n", "- {0}\n", "api_key: '{0}' {0}\n",
    'api_key: "\\q{0}"\n', "api_key={0}: 1\napi_key={0}: 2\n", "api_key {0}: 1:30\n", "api_key: {0}\n  b: c\n",
    "api_key: [{0}\nb: 1\n", "api_key: {{a: {0}\nb: 1\n", "api_key: |{0}\n", "api_key: %{0}\n",
    "api_key:\u00a0{0}\nb: 1",
    "database_url: postgres://u:{0}@h/d\ndatabase_url: 1\n", "api_key: {0}\n---\nb: {0}\n", "api_key: !!int {0}\n",
    "api_key: \u200b{0}\n", "api_key:\n  {0}: 22:22\n", "password: !!python/name:{0} x\n",
]  # fmt: skip


@pytest.mark.row("C-59")
@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("slip", SLIPS)
def test_no_slip_prints_the_secret_on_its_line(slip, secret):
    """Whatever is wrong with the line, its value is not repeated."""
    source = slip.format(secret)

    found, problems = parse(source.encode(), "c.yaml")

    assert problems or found is not None
    assert not any(secret in str(problem) or secret in str(problem.as_json()) for problem in problems)


@pytest.mark.row("C-59")
def test_the_slips_of_the_secret_test_are_seen():
    """All but those that only a schema can know are problems already here."""
    silent = [slip for slip in SLIPS if not parse(slip.format(SECRETS[0]).encode(), "c.yaml")[1]]

    assert silent == ["api_key: {{{0}}}\n"]


def check_outcome(data: bytes) -> None:
    found, problems = parse(data, "f.yaml")

    assert found is not None or any(problem.severity is Severity.ERROR for problem in problems)
    assert problems == sorted(problems)
    for problem in problems:
        assert isinstance(problem, Problem)
        assert problem.message
        assert problem.place.line >= 1
        assert problem.place.column >= 1
        assert str(problem).isprintable()
    if found is not None:
        plain(found.values)


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A good file with a few bytes put in, taken out or doubled."""
    data = GOOD.encode()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        piece = draw(
            st.binary(max_size=3)
            | st.sampled_from([b"\t", b"'", b'"', b": ", b"- ", b"*a", b"&a ", b"<<: *a", b"[", b"}", b"!x ", b"\n",
                               b"#", b"|\n", "\u00a0".encode(), "：".encode(), b"%", b"? ", b"---\n", b"\0", b"\\"])
        )  # fmt: skip
        data = data[:at] + piece + data[at + draw(st.integers(0, 5)) :]
    return data


@pytest.mark.row("F-03")
@settings(max_examples=EXAMPLES, deadline=None)
@given(mutations())
def test_a_mutated_file_is_a_document_or_problems(data):
    """A damaged file never raises, and never ends without a word."""
    check_outcome(data)


@pytest.mark.row("F-03")
@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.binary(max_size=200)
    | st.text(alphabet="ab:-[]{}&*!|>'\"#%@`,?<~ \t\n\r\u00a0\u200b：\0\\09", max_size=60).map(str.encode)
)
def test_any_bytes_are_a_document_or_problems(data):
    """The same for bytes that were never a config."""
    check_outcome(data)
