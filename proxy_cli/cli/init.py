"""`llmproxy init`: a first file, with comments, that serves at once.

It never overwrites a file, unless it is told to. What it writes passes `llmproxy check`.
"""

from pathlib import Path
from typing import Final

import click

DEFAULT_FILE: Final = "config.yaml"

FIRST_FILE: Final = """\
# llmproxy serves these models at one OpenAI-compatible address:
#   llmproxy --config {name}
# Check it after a change:
#   llmproxy check {name}

model_list:
  # Answers by itself, so that you can try the proxy before any model runs. Remove it later.
  - model_name: hello
    litellm_params:
      model: openai/hello
      mock_response: Hello! This answer comes from the configuration file.

  # A server of your own that speaks OpenAI's API (vLLM, llama.cpp, Ollama, LocalAI, ...).
  # `model_name` is what callers ask for; `openai/` means the API, what follows is the server's own name of the model.
  # - model_name: gpt-3.5-turbo
  #   litellm_params:
  #     model: openai/vicuna-13b
  #     api_base: http://localhost:20080/v1
  #     api_key: None

  # A service on the internet. The key is read from a variable, never written here.
  # - model_name: gpt-4o
  #   litellm_params:
  #     model: openai/gpt-4o
  #     api_key: os.environ/OPENAI_API_KEY

  # Every name that no other entry has goes there, under the name that was asked for.
  # - model_name: "*"
  #   litellm_params:
  #     model: openai/*
  #     api_key: os.environ/OPENAI_API_KEY

litellm_settings:
  # Leave out what a model is known not to take, instead of answering with an error.
  drop_params: false
  # Seconds that a backend may take.
  request_timeout: 600

# Who may call: with a master key, callers send it as `Authorization: Bearer ...`; without one, everybody may.
# Make one with: openssl rand -hex 24
# general_settings:
#   master_key: os.environ/LITELLM_MASTER_KEY
"""


@click.command()
@click.argument("file", default=DEFAULT_FILE, metavar="[FILE]")
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
def init(file: str, force: bool) -> int:
    """Write a first configuration file, with comments (config.yaml, if no other is named)."""
    return write(Path(file), force=force)


def write(file: Path, *, force: bool = False) -> int:
    """Write the file and say what comes next; the exit code."""
    try:
        with file.open("w" if force else "x", encoding="utf-8") as stream:
            stream.write(FIRST_FILE.format(name=file))
    except FileExistsError as problem:
        raise click.UsageError(f"{file} is there already; name another file, or overwrite it with --force") from problem
    except OSError as problem:
        raise click.UsageError(f"{file} cannot be written: {problem.strerror}") from problem
    click.echo(f"Wrote {file}. Serve it: llmproxy --config {file}")
    return 0
