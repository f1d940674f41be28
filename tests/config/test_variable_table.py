"""The table of variables."""

from proxy_cli.config.variable_table import OTHER_TWINS, TABLE


def test_each_variable_stands_there_once():
    """And with what it sets."""
    names = [variable.name for variable in TABLE]

    assert len(names) == len(set(names))
    assert all(variable.sets for variable in TABLE)


def test_what_is_not_used_says_why():
    """A variable without a use has a reason."""
    assert [variable.name for variable in TABLE if variable.state != "used" and not variable.why] == []


def test_further_names_belong_to_variables_of_the_table():
    """A name for nothing would be read and forgotten."""
    assert OTHER_TWINS.keys() <= {variable.name for variable in TABLE}
