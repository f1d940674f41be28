"""Whose turn something is, of all processes of a server: a lock of the kernel, which a process that dies gives back.

The lock lies on a file without a name that is made before the fork; what else stands in that file is up to whoever
asked for the turn.
"""

import fcntl
import os
import tempfile
import weakref


class Turn:
    """One turn, shared by all processes forked after its making."""

    def __init__(self, name: str) -> None:
        self.descriptor = _file(name)
        self._close = weakref.finalize(self, os.close, self.descriptor)
        self._holder = 0  # the process that has it, as far as this one knows: a child has not what its parent has

    def take(self) -> bool:
        """Take the turn; False where somebody has it, in this process too. The kernel's lock does not tell those."""
        if self.is_ours:
            return False
        try:
            fcntl.lockf(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._holder = os.getpid()
        return True

    @property
    def is_ours(self) -> bool:
        """Whether somebody in this process has it."""
        return self._holder == os.getpid()

    def give(self) -> None:
        """Give it back; nothing where this process has not got it."""
        if self.is_ours:
            self._holder = 0
            fcntl.lockf(self.descriptor, fcntl.LOCK_UN)


def _file(name: str) -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
