"""`llmproxy init`: a first file that serves, and never the loss of another."""

import yaml

from proxy_cli.cli.init import FIRST_FILE


def test_init_writes_a_file_that_passes_the_strict_check(command):
    """What it writes is right without a change."""
    made = command.run("init")
    checked = command.run("check", "--strict")

    assert (made.returncode, made.stdout) == (0, "Wrote config.yaml. Serve it: llmproxy --config config.yaml\n")
    assert checked.returncode == 0, checked.stderr
    assert "llmproxy --config config.yaml" in (command.folder / "config.yaml").read_text()


def test_init_never_overwrites_without_being_told(command):
    """A file that is there stays as it is."""
    file = command.write("mine.yaml", "model_list: []\n")

    refused = command.run("init", "mine.yaml")
    kept = file.read_text()
    forced = command.run("init", "mine.yaml", "--force")

    assert refused.returncode == 2
    assert refused.stderr == ("llmproxy: mine.yaml is there already; name another file, or overwrite it with --force\n")
    assert kept == "model_list: []\n"
    assert forced.returncode == 0
    assert "hello" in file.read_text()


def test_init_says_why_it_cannot_write(command):
    """A folder that is not there."""
    done = command.run("init", "none/config.yaml")

    assert (done.returncode, done.stderr) == (
        2,
        "llmproxy: none/config.yaml cannot be written: No such file or directory\n",
    )


def test_init_is_what_setup_does(command):
    """LiteLLM's `--setup`."""
    assert command.run("--setup", "--config", "first.yaml").returncode == 0
    assert (command.folder / "first.yaml").exists()


def test_init_examples_in_comments_are_right_when_uncommented():
    """Whoever takes the `#` away gets what the comment says."""
    lines = FIRST_FILE.format(name="c.yaml").splitlines()
    code = [line.replace("# ", "", 1) if line.startswith(("  # - ", "  #   ")) else line for line in lines]

    models = yaml.safe_load("\n".join(code))["model_list"]

    assert [model["model_name"] for model in models] == ["hello", "gpt-3.5-turbo", "gpt-4o", "*"]
    assert all(model["litellm_params"]["model"].startswith("openai/") for model in models)
