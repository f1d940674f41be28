"""What models cost and can do, as far as a table that ships with the package knows; nothing is ever downloaded."""
