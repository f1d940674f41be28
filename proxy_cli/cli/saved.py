"""What `--save` and `--add_key` keep in the user's own config folder, and how it is found again.

`models.yaml` holds the defaults of models by name; `secrets.env` holds providers' keys, a NAME=VALUE a line. Both
are readable by their owner alone, and are replaced whole, so that a crash leaves the old file. A file that cannot
be understood is one sentence, never a guess.
"""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click
import platformdirs
import yaml

from proxy_cli.cli.kinds import KeyAssignment
from proxy_cli.cli.options import OPTIONS, SWITCH, Option, Values

_KEPT: Final = (
    "model",
    "api_base",
    "api_version",
    "headers",
    "temperature",
    "max_tokens",
    "request_timeout",
    "drop_params",
    "add_function_to_prompt",
)
_SECRETS_HEAD = "# Providers' keys for llmproxy, kept by `llmproxy --add_key NAME=VALUE`; values stand as they are.\n"
_MODELS_HEAD = "# Defaults of models for llmproxy, kept by `llmproxy --model NAME --save`.\n"


def folder(environ: Mapping[str, str]) -> Path:
    """Where both files lie: LLMPROXY_CONFIG_DIR, else the user's config folder."""
    chosen = environ.get("LLMPROXY_CONFIG_DIR")
    return Path(chosen) if chosen else platformdirs.user_config_path("llmproxy")


def keep_model(place: Path, values: Values) -> tuple[str, Path]:
    """Keep what the command line says of its model; the entry's name and the file."""
    name = str(values.get("alias") or values["model"])
    file = place / "models.yaml"
    models = _read_models(file)
    models[name] = {option: values[option] for option in _KEPT if values.get(option) is not None}
    text = yaml.safe_dump({"models": models}, allow_unicode=True, sort_keys=False)
    _replace(file, _MODELS_HEAD + text)
    return name, file


def with_saved_model(place: Path, values: Values) -> dict[str, object]:
    """The values, with what was kept under the model's name where nothing was said."""
    filled = dict(values)
    name = values.get("model")
    entry = _read_models(place / "models.yaml").get(name) if isinstance(name, str) else None
    if entry is None:
        return filled
    for option, value in entry.items():
        if option == "model" or filled.get(option) is None:
            filled[option] = value
    # The name that it was kept under goes on working, as an alias of what it stands for.
    if filled["model"] != name and filled.get("alias") is None:
        filled["alias"] = name
    return filled


def keep_key(place: Path, name: str, value: str) -> Path:
    """Keep a provider's key, in the place of an older one; the file."""
    file = place / "secrets.env"
    keys = read_keys(place) | {name: value}
    _replace(file, _SECRETS_HEAD + "".join(f"{key}={secret}\n" for key, secret in keys.items()))
    return file


def read_keys(place: Path) -> dict[str, str]:
    """The keys that were kept, by the names of their variables."""
    file = place / "secrets.env"
    keys: dict[str, str] = {}
    for number, line in enumerate(_text(file).splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            name, value = KeyAssignment().read(line)
        except ValueError as problem:
            raise click.UsageError(f"{file}:{number}: {problem}; correct the line or remove it") from None
        keys[name] = value
    return keys


def open_to_others(place: Path) -> Path | None:
    """The file of keys, if others than its owner may read it."""
    file = place / "secrets.env"
    try:
        mode = file.stat().st_mode
    except OSError:
        return None
    return file if stat.S_IMODE(mode) & 0o077 else None


def _read_models(file: Path) -> dict[str, dict[str, object]]:
    try:
        found = yaml.safe_load(_text(file))
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise click.UsageError(f"{file}{place}: not valid YAML; correct the file or remove it") from None
    models = {} if found is None else found.get("models") if isinstance(found, dict) else None
    if not isinstance(models, dict):
        raise click.UsageError(f"{file}: the key 'models' is missing; correct the file or remove it")
    return {str(name): _checked(file, str(name), entry) for name, entry in models.items()}


def _checked(file: Path, name: str, entry: object) -> dict[str, object]:
    """An entry whose values have the same kinds as the options'."""
    if not isinstance(entry, dict) or not isinstance(entry.get("model"), str):
        raise click.UsageError(f"{file}: the entry {name!r} names no model; correct it or remove it")
    options = {option.name: option for option in OPTIONS if option.name in _KEPT}
    checked: dict[str, object] = {}
    for key, value in entry.items():
        option = options.get(key)
        if option is None:
            raise click.UsageError(f"{file}: the entry {name!r} has an unknown key {key!r}; remove it")
        try:
            checked[str(key)] = _read_value(option, value)
        except ValueError as problem:
            raise click.UsageError(f"{file}: {key} of the entry {name!r}: {problem}; correct it or remove it") from None
    return checked


def _read_value(option: Option, value: object) -> object:
    if option.kind is None:
        return SWITCH.read(str(value))
    return option.kind.read(json.dumps(value) if isinstance(value, dict) else str(value))


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as problem:
        raise click.UsageError(f"{file} cannot be read: {problem.strerror}; correct that or remove it") from problem
    except UnicodeDecodeError:
        raise click.UsageError(f"{file} is not UTF-8 text; correct the file or remove it") from None


def _replace(file: Path, text: str) -> None:
    """Write a whole file that only its owner may read; the old one stays until the new one is complete."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = file.with_name(f".{file.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(file)
    except OSError as problem:
        raise click.ClickException(f"{file} cannot be written: {problem.strerror}") from problem
