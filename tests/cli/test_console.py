"""Where tables are printed."""

from proxy_cli.cli.console import console_of


def test_a_pipe_gets_wide_tables(capsys):
    """Nothing is folded because nobody told how wide a pipe is."""
    console_of().print("x" * 150)
    console_of(stderr=True).print("y" * 150)

    told = capsys.readouterr()
    assert told.out == "x" * 150 + "\n"
    assert told.err == "y" * 150 + "\n"
