"""What is shipped: the wheel, the image and the commands that build them. The image's own steps are run, without an
engine, in a folder that stands for its file system."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCKS = ["requirements.lock", "requirements-build.lock", "requirements-dev.lock"]


class Step(NamedTuple):
    """One instruction of a Dockerfile."""

    stage: int
    verb: str
    text: str


def dockerfile_steps() -> list[Step]:
    """The Dockerfile's instructions in order, with lines that go on joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    steps: list[Step] = []
    stage = -1
    for line in filter(None, map(str.strip, text.replace("\\\n", " ").splitlines())):
        verb, _, rest = line.partition(" ")
        stage += verb == "FROM"
        steps.append(Step(stage, verb, rest.strip()))
    return steps


def last_stage(verb: str) -> list[str]:
    """What the image that is shipped says by one verb."""
    steps = dockerfile_steps()
    return [step.text for step in steps if step.stage == steps[-1].stage and step.verb == verb]


def tracked(git: str, path: str) -> list[str]:
    """The files of the repository below a path."""
    listing = subprocess.run([git, "ls-files", "-z", "--", path], cwd=ROOT, capture_output=True, check=True)
    return [name for name in listing.stdout.decode().split("\0") if name]


def bare_environment(home: Path) -> dict[str, str]:
    """Variables as in a container: none but the path, a home, and how to reach the package index."""
    network = {name: value for name, value in os.environ.items() if name.upper().startswith(("PIP_", "SSL_", "HTTP"))}
    # In the image it is called `python`; a distribution calls its own `python3`.
    python = home / "interpreter"
    python.mkdir(exist_ok=True)
    if not (python / "python").is_symlink():
        (python / "python").symlink_to(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")
    return {**network, "PATH": f"{python}:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}


@pytest.fixture(scope="module")
def image(tmp_path_factory, require):
    """The image's file system after the steps of its first stage, below a temporary folder."""
    place = tmp_path_factory.mktemp("image")
    source = place / "src"
    source.mkdir()
    for step in dockerfile_steps():
        if step.stage:
            break
        if step.verb == "COPY":
            *names, target = shlex.split(step.text)
            copy_into(source, names, target, require("git"))
        elif step.verb == "RUN":
            run_step(step.text, place)
    return place


def copy_into(source: Path, names: list[str], target: str, git: str) -> None:
    """COPY for the two forms that the Dockerfile uses: files into the folder, or a folder under its own name."""
    for name in names:
        assert target == "./" or target == name
        files = tracked(git, name)
        assert files, f"COPY {name}: no such file in the repository"
        for file in files:
            (source / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, source / file)


def run_step(text: str, place: Path) -> None:
    """RUN, with the image's /opt in the temporary folder."""
    command = text.replace("/opt/", f"{place}/opt/")
    done = subprocess.run(
        ["/bin/sh", "-ec", command],
        cwd=place / "src",
        env=bare_environment(place),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


def test_the_image_starts_the_program_and_is_not_root():
    """Arguments after the image's name are the program's, and the program has no root rights."""
    entrypoint, user = last_stage("ENTRYPOINT"), last_stage("USER")

    assert [json.loads(text) for text in entrypoint] == [["llmproxy"]]
    assert user
    assert all(text.isdigit() and int(text) > 0 for text in user)
    assert not last_stage("CMD")


def test_the_image_is_slim_and_copies_no_more_than_it_needs():
    """Every stage starts from a slim image, and the context lets through what is copied and nothing else."""
    bases = [step.text for step in dockerfile_steps() if step.verb == "FROM"]
    copied = {
        name
        for step in dockerfile_steps()
        if step.verb == "COPY" and not step.text.startswith("--from")
        for name in shlex.split(step.text)[:-1]
    }
    let_through = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE)

    assert all(re.match(r"python:3\.1\d-slim\b", base) for base in bases)
    assert set(let_through) == copied


@pytest.mark.timeout(600)
@pytest.mark.row("X-04")
def test_the_installed_image_tells_its_version(image):
    """The image's own steps, in a bare environment, end in a program that runs."""
    program = image / "opt" / "llmproxy" / "bin" / "llmproxy"

    done = subprocess.run(
        [program, "--version"], cwd=image, env=bare_environment(image), capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert re.search(r"\b\d+\.\d+\.\d+", done.stdout)


@pytest.mark.timeout(600)
@pytest.mark.row("X-02")
def test_the_wheel_holds_the_package_and_nothing_else(image, require):
    """The wheel has every file of the package, its licences and metadata: no `.pth`, no compiled code, no tests."""
    (wheel,) = (image / "opt" / "wheel").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    metadata = {name for name in names if ".dist-info/" in name}

    assert names - metadata == set(tracked(require("git"), "proxy_cli"))
    assert {Path(name).name for name in metadata} <= {
        "METADATA",
        "WHEEL",
        "RECORD",
        "entry_points.txt",
        "top_level.txt",
        "LICENSE",
        "NOTICE",
    }
    assert not {name for name in names if name.endswith((".pth", ".so", ".pyc"))}


AUDIT = """
import os, pkgutil, sys

SEEN = []
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
LOUD = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostby", "subprocess.", "os.system",
        "os.exec", "os.fork", "os.posix_spawn", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "shutil.")

def listen(event, arguments):
    if event.startswith(LOUD) or (event == "open" and arguments[2] & WRITING):
        SEEN.append(f"{event} {arguments!r}")

sys.addaudithook(listen)
import proxy_cli
for module in pkgutil.walk_packages(proxy_cli.__path__, "proxy_cli."):
    if not module.name.endswith("__main__"):
        __import__(module.name)
print("\\n".join(SEEN))
"""


@pytest.mark.timeout(600)
@pytest.mark.row("X-03")
def test_importing_touches_neither_network_nor_disk(image):
    """Importing every module of the package opens no socket, writes no file and starts no process."""
    python = image / "opt" / "llmproxy" / "bin" / "python"

    done = subprocess.run(
        [python, "-B", "-c", AUDIT], cwd=image, env=bare_environment(image), capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


@pytest.mark.row("X-06")
def test_the_program_stands_on_few_libraries():
    """At most fourteen direct dependencies, each with a floor."""
    dependencies = PROJECT["project"]["dependencies"]

    assert len(dependencies) <= 14
    assert all(">=" in name for name in dependencies)


@pytest.mark.row("X-04")
@pytest.mark.parametrize("lock", LOCKS)
def test_lock_files_have_hashes_and_name_no_index(lock):
    """Every pinned package has its hashes, and where it came from is the reader's choice."""
    text = (ROOT / lock).read_text("utf-8")
    entries = re.split(r"\n(?=\S)", text.strip())

    assert all(re.match(r"[a-z0-9.-]+(\[[a-z,]+\])?==\S+", entry) and "--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links", text)


def pins(lock: str) -> dict[str, str]:
    """Of each package in a lock file the version."""
    return dict(re.findall(r"^([a-z0-9.-]+)(?:\[[a-z,]+\])?==(\S+)", (ROOT / lock).read_text("utf-8"), re.MULTILINE))


def test_the_locks_cover_what_the_project_asks_for():
    """Every dependency is pinned, and the tests run on the versions that are shipped."""
    groups = PROJECT["dependency-groups"]
    asked = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["gunicorn"]]
    asked_by_tests = [name for name in groups["dev"] if isinstance(name, str)]
    names = {re.split(r"[<>=\[ ]", name)[0].lower() for name in asked}

    runtime, dev = pins("requirements.lock"), pins("requirements-dev.lock")

    assert names <= set(runtime)
    assert {re.split(r"[<>=\[ ]", name)[0].lower() for name in asked_by_tests} <= set(dev)
    assert runtime.items() <= dev.items()
    assert pins("requirements-build.lock").items() <= dev.items()


def make(require, folder: Path, *arguments: str) -> str:
    """What `make` would do: its printed commands."""
    command = [require("make"), "-C", str(folder), "--no-print-directory", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_every_make_target_has_a_help_line(require):
    """`make help` lists all that can be asked for."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (listed,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)

    shown = re.findall(r"^  make ([\w-]+)", make(require, ROOT, "help"), re.MULTILINE)

    assert sorted(shown) == sorted(listed.split())


def test_a_second_run_installs_nothing(require, tmp_path):
    """Once all is installed, `make run` starts and `make test` tests at once."""
    for name in ["Makefile", "pyproject.toml", *LOCKS]:
        shutil.copy(ROOT / name, tmp_path)
    first = make(require, tmp_path, "--dry-run", "test")
    stamps = [tmp_path / ".venv" / name for name in ("bin/python", ".runtime", ".dev")]
    for stamp in stamps:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()

    second = make(require, tmp_path, "--dry-run", "test")

    assert "pip" in first
    assert "pip" not in second
    assert "pytest" in second


def test_an_old_python_is_answered_with_a_sentence(require, tmp_path):
    """Where no Python 3.11 is found, `make` says so, and how to name one."""
    for name in ["Makefile", "pyproject.toml", *LOCKS]:
        shutil.copy(ROOT / name, tmp_path)

    done = subprocess.run(
        [require("make"), "-C", str(tmp_path), "PYTHON=", "run"], capture_output=True, text=True, check=False
    )

    assert done.returncode != 0
    assert "llmproxy needs Python 3.11 or newer" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_compose_file_serves_an_example_to_the_host(require):
    """The compose file mounts a file that exists, publishes the port it serves, and reaches the host's servers."""
    service = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text("utf-8"))["services"]["llmproxy"]
    command = service["command"]
    source, target, mode = service["volumes"][0].split(":")

    assert (ROOT / "deploy" / source).resolve().is_file()
    assert target == command[command.index("--config") + 1]
    assert mode == "ro"
    assert service["ports"] == ["{0}:{0}".format(command[command.index("--port") + 1])]
    assert "host.docker.internal:host-gateway" in service["extra_hosts"]
    assert "entrypoint" not in service


def test_the_ci_run_is_a_program_that_parses(require):
    """`.ci/run` can be started as it is, allows no skips, and runs all three checks."""
    script = ROOT / ".ci" / "run"

    subprocess.run([require("bash"), "-n", script], check=True)

    text = script.read_text("utf-8")
    assert os.access(script, os.X_OK)
    assert "LLMPROXY_TESTS_STRICT=1" in text
    assert {"lint", "types", "test"} <= set(text.splitlines()[-1].split())
