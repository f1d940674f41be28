"""The processes that serve: their sockets, their parent, and what it says to them.

It refuses to know a request: a worker is started, told to reload or to end, and replaced. What holds across workers is
in memory that they share, made before the first fork.
"""
