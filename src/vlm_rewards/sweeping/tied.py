"""Runs a command that must not outlive the process that started it.

A process that is killed with SIGKILL cannot end its children. Linux can be
asked to: a process is sent a signal when the thread that started it ends. The
wish survives `exec`, so that the command needs to know nothing of it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h


def main() -> None:
    """Entry point of the process: the parent's id and the command as arguments."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it has died already
        sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
