"""The end of the process: runs that are still going on are reported as failed before it."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import threading
import weakref
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._run import Run

log = logging.getLogger("agent_trigger")

#: The seconds that all reports together may take before the process goes on to end.
LIMIT = 8.0

_going_on: weakref.WeakSet[Run] = weakref.WeakSet()
_previous: Any = None
_is_installed = False
_is_registered = False


def add(run: Run) -> None:
    """Remember a run that has begun."""
    global _is_registered
    _going_on.add(run)
    if not _is_registered:
        _is_registered = True
        atexit.register(_at_exit)
    if threading.current_thread() is threading.main_thread():
        report_on_sigterm()
    elif not _is_installed:
        log.warning("call report_on_sigterm() in the main thread, or a run that is stopped by SIGTERM ends in silence")


def remove(run: Run) -> None:
    """Forget a run whose end has been reported."""
    _going_on.discard(run)


def report_on_sigterm() -> None:
    """Report runs as failed when SIGTERM comes, then do what was done before. Call it in the main thread, at the start.

    A run that begins in the main thread calls it by itself. Python allows no other thread to set a signal's handler.
    """
    global _previous, _is_installed
    if _is_installed and signal.getsignal(signal.SIGTERM) is _on_sigterm:
        return
    _previous = signal.signal(signal.SIGTERM, _on_sigterm)
    _is_installed = True


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    _report_all("the agent's process was stopped (SIGTERM)")
    if callable(_previous):
        _previous(number, frame)
    elif _previous != signal.SIG_IGN:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)


def _at_exit() -> None:
    _report_all("the agent's process ended")


def _report_all(why: str) -> None:
    """Report every run that goes on, at the same time. No lock is taken: the thread that holds it may be interrupted."""
    threads = [threading.Thread(target=run._abandon, args=(why, LIMIT), daemon=True) for run in list(_going_on)]
    try:
        for thread in threads:
            thread.start()
    except RuntimeError:
        # The interpreter starts no thread any more.
        for run in list(_going_on):
            run._abandon(why, LIMIT)
    for thread in threads:
        if thread.ident is not None:
            thread.join(LIMIT)
