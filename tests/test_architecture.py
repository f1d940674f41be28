"""The rules of the house that a machine can hold: floors, boundaries, forbidden calls, a test file for each file."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "proxy_cli"
PLAN = ROOT / "docs" / "architecture.md"

# Extras that are not installed with the package: only the file that needs one may import it, inside a function.
OPTIONAL_EXTRAS = {"brotli", "gunicorn", "jwt", "zstandard"}

# Where anything at all may be caught, and which boundary that is.
BOUNDARIES = {
    "server/counter.py": "request",
    "server/reply.py": "request, once its response has begun",
    "errand.py": "errand: nobody awaits it; the event loop is told, as of any callback",
    "telemetry/recorder.py": "exporter",
    "upstream/exchange.py": "sink: what it raises is raised again in the task that awaits the reply",
    "__main__.py": "command",
}

# Calls and modules that turn data into code or start programs, with the reason where one is needed.
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "literal_eval"}
FORBIDDEN_ATTRIBUTES = {"yaml.load", "os.system", "os.popen", "ast.literal_eval", "builtins.eval", "builtins.exec"}
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "subprocess"}
ALLOWED: dict[tuple[str, str], str] = {}

# What code may be written about is the program: not who wrote it, nor the place where it was written.
FOREIGN_WORDS = re.compile(
    "|".join(
        [
            "/wo" + r"rk/(main|shared|\.)",
            "cla" + "ude (code|session|agent)",
            "copi" + "lot agent",
            "co-authored" + "-by:",
            "generated " + "with (an? )?(ai|llm|cla" + "ude)",
            r"\bas an a" + r"i (language )?model\b",
            "house" + r"\.md",
            "ses" + "sion of the project",
        ]
    ),
    re.IGNORECASE,
)


class Source(NamedTuple):
    """One file of the package, parsed."""

    name: str  # below the package, with slashes
    tree: ast.Module

    @property
    def room(self) -> str:
        """The first step of the name: `server/` or `gateway.py`."""
        first, slash, _ = self.name.partition("/")
        return first + slash


def read_sources() -> list[Source]:
    """Every Python file of the package."""
    files = sorted(PACKAGE.rglob("*.py"))
    return [Source(file.relative_to(PACKAGE).as_posix(), ast.parse(file.read_bytes())) for file in files]


def read_plan() -> dict[str, tuple[int, int]]:
    """Of each room of the plan's table its floor, and its row: files of one row are one room."""
    rooms = {}
    for number, line in enumerate(PLAN.read_text("utf-8").splitlines()):
        cells = re.match(r"\| *(\d+) *\| *`([^`]+)` *\|", line)
        if cells:
            rooms.update({name: (int(cells[1]), number) for name in cells[2].split()})
    return rooms


SOURCES = read_sources()
PLANNED = read_plan()


def modules_imported(node: ast.Import | ast.ImportFrom, source: Source) -> Iterator[str]:
    """The dotted names that an import statement reaches for."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    parts = ["proxy_cli", *source.name.split("/")[:-1]]
    base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
    module = ".".join(filter(None, [base, node.module]))
    yield from (f"{module}.{alias.name}" for alias in node.names)


def imports(source: Source) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that a file imports, anywhere in it."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((node.lineno, name) for name in modules_imported(node, source))


def room_of(dotted: str) -> str | None:
    """The room that an imported name of ours lies in; None for the version and for foreign names."""
    parts = dotted.split(".")
    if parts[0] != "proxy_cli" or len(parts) == 1:
        return None
    if (PACKAGE / parts[1]).is_dir():
        return f"{parts[1]}/"
    return f"{parts[1]}.py" if (PACKAGE / f"{parts[1]}.py").is_file() else None


def dotted_name(node: ast.expr) -> str:
    """`os.system` for the attribute of a name, `eval` for a name, else nothing."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return ""


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method, nested ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_every_file_lies_in_a_room_of_the_plan():
    """A new room is written into docs/architecture.md before it is built."""
    entrances = {"__init__.py", "__main__.py"}

    homeless = {source.name for source in SOURCES if source.room not in PLANNED} - entrances

    assert not homeless, f"not in the table of {PLAN.name}: {sorted(homeless)}"


def test_imports_go_down_only():
    """A file imports from its own room and from lower floors, never from a neighbour or from above."""
    wrong = []
    for source in SOURCES:
        floor, row = PLANNED.get(source.room, (8, 0))
        for line, name in imports(source):
            room = room_of(name)
            if room is None or room == source.room:
                continue
            other_floor, other_row = PLANNED.get(room, (8, -1))
            if other_floor >= floor and other_row != row:
                wrong.append(f"{source.name}:{line}: {name} (floor {other_floor}) from floor {floor}")

    assert not wrong, "\n".join(wrong)


def test_imports_stand_at_the_top_of_a_file():
    """Only commands and the users of an optional extra import inside a function."""
    wrong = []
    for source in SOURCES:
        if source.room == "cli/" or source.name == "__main__.py":
            continue
        for function in functions(source.tree):
            found = (node for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom))
            wrong += [
                f"{source.name}:{node.lineno}: {name} in {function.name}()"
                for node in found
                for name in modules_imported(node, source)
                if name.partition(".")[0] not in OPTIONAL_EXTRAS
            ]

    assert not wrong, "\n".join(wrong)


def is_declarative(node: ast.stmt) -> bool:
    """Whether a top-level statement holds nothing that could go wrong: a docstring, a constant, a protocol."""
    if isinstance(node, ast.ClassDef):
        return any(dotted_name(base).endswith("Protocol") for base in node.bases)
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return isinstance(node.value, ast.Constant | ast.List | ast.Tuple | None)
    return isinstance(node, ast.Import | ast.ImportFrom)


def mirrors(source: Source) -> list[str]:
    """The names of which one has to exist for a source file."""
    folder, _, file = source.name.rpartition("/")
    stem = file.removesuffix(".py").strip("_")
    names = [f"test_{stem}.py"]
    if stem == "init":
        names.append(f"test_{folder.rpartition('/')[2]}.py")
    return [f"{folder}/{name}" if folder else name for name in names]


def test_every_source_file_has_a_test_file():
    """The tests' tree mirrors the package's; files that only declare need none."""
    bare = [
        source.name
        for source in SOURCES
        if not all(is_declarative(node) for node in source.tree.body)
        and not any((ROOT / "tests" / name).is_file() for name in mirrors(source))
    ]

    assert not bare, f"no test file for {bare}"


def forbidden(source: Source) -> Iterator[tuple[int, str]]:
    """Line and name of what A-25 forbids in a file."""
    for line, name in imports(source):
        if name.partition(".")[0] in FORBIDDEN_MODULES:
            yield line, name.partition(".")[0]
        elif name in FORBIDDEN_ATTRIBUTES:
            yield line, name
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
            yield node.lineno, node.func.id
        elif isinstance(node, ast.Attribute) and dotted_name(node) in FORBIDDEN_ATTRIBUTES:
            yield node.lineno, dotted_name(node)
        elif isinstance(node, ast.JoinedStr) and is_sql(node):
            yield node.lineno, "SQL in an f-string"


def is_sql(node: ast.JoinedStr) -> bool:
    """Whether an f-string opens like a statement that belongs into a parameterised query."""
    first = node.values[0] if node.values else None
    return (
        isinstance(first, ast.Constant)
        and len(node.values) > 1
        and bool(re.match(r"\s*(SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s+\S+\s+SET|DELETE\s+FROM)\s", str(first.value)))
    )


@pytest.mark.row("A-25")
def test_no_file_turns_data_into_code():
    """eval, pickle, a shell and their like appear only where a reason is written down."""
    found = {(source.name, name): line for source in SOURCES for line, name in forbidden(source)}

    new = [f"{file}:{line}: {name}" for (file, name), line in found.items() if (file, name) not in ALLOWED]

    assert not new, "\n".join(new)
    assert set(ALLOWED) <= set(found), f"no longer needed: {sorted(set(ALLOWED) - set(found))}"


@pytest.mark.row("A-25")
@pytest.mark.parametrize(
    "code",
    [
        "eval('1')",
        "from ast import literal_eval",
        "import pickle",
        "import subprocess as s",
        "import yaml\nyaml.load(x)",
        "from os import system",
        "f'SELECT a FROM b WHERE c = {d}'",
    ],
)
def test_the_scan_finds_what_it_is_for(code):
    """Each way to write a forbidden call is seen."""
    assert list(forbidden(Source("sample.py", ast.parse(code))))


def broad_catches(source: Source) -> Iterator[int]:
    """Lines that catch anything at all and do not raise it again."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler) and not isinstance(node.body[-1], ast.Raise):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if any(kind is None or dotted_name(kind) in {"Exception", "BaseException"} for kind in caught):
                yield node.lineno
        elif isinstance(node, ast.Call) and dotted_name(node.func) in {"suppress", "contextlib.suppress"}:
            yield from (node.lineno for kind in node.args if dotted_name(kind) in {"Exception", "BaseException"})


def test_anything_at_all_is_caught_at_the_boundaries_only():
    """`except Exception` stands at the request, task, exporter and command boundaries."""
    wrong = [
        f"{source.name}:{line}" for source in SOURCES if source.name not in BOUNDARIES for line in broad_catches(source)
    ]

    assert not wrong, f"outside the boundaries: {wrong}"


PROBE = """
import json, sys
from proxy_cli.__main__ import main
sys.argv = ["llmproxy", sys.argv[1]]
try:
    main()
except SystemExit as end:
    status = end.code
print(json.dumps([status, sorted(sys.modules)]))
"""


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_load_no_server(option):
    """Asking for help imports neither the HTTP server nor the settings' validation."""
    run = subprocess.run([sys.executable, "-c", PROBE, option], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr

    status, loaded = json.loads(run.stdout.splitlines()[-1])

    assert status in (0, None)
    assert not {"aiohttp", "pydantic", "uvloop", "yaml"} & set(loaded)


def tracked_texts(git: str) -> Iterator[tuple[str, str]]:
    """Path and text of each tracked file that is text."""
    listing = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listing.split("\0")):
        path = ROOT / name
        data = path.read_bytes() if path.is_file() else b""
        if b"\0" not in data[:8000]:
            yield name, data.decode("utf-8", "replace")


def test_the_project_speaks_of_itself_alone(require):
    """No tracked file and no commit names the place where, or the tools with which, it was written."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    git = require("git")
    log = subprocess.run([git, "log", "--format=%B"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    found = [
        f"{name}: {match[0]}"
        for name, text in [*tracked_texts(git), ("a commit message", log)]
        for match in FOREIGN_WORDS.finditer(text)
    ]

    assert not found, "\n".join(found)
