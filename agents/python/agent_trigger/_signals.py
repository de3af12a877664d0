"""The end of the process: runs that are still going on are reported as failed before it."""

from __future__ import annotations

import _thread
import atexit
import logging
import os
import signal
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._run import Run

log = logging.getLogger("agent_trigger")

#: The seconds that all reports together may take before the process goes on to end.
LIMIT = 8.0

# A dictionary, because it is copied in one step: a signal's handler may interrupt whoever changes it.
_going_on: dict[int, Run] = {}
_is_registered = False
_is_settled = False


def add(run: Run) -> None:
    """Remember a run that has begun."""
    global _is_registered
    _going_on[id(run)] = run
    if not _is_registered:
        _is_registered = True
        atexit.register(_report_all, "the agent's process ended")
    if threading.current_thread() is threading.main_thread():
        report_on_sigterm()
    elif not _is_settled:
        log.warning("call report_on_sigterm() in the main thread, or a run that is stopped by SIGTERM ends in silence")


def remove(run: Run) -> None:
    """Forget a run whose end has been reported."""
    _going_on.pop(id(run), None)


def report_on_sigterm() -> None:
    """Report runs as failed when SIGTERM comes, then do what was done before. Call it in the main thread, at the start.

    A run that begins in the main thread calls it by itself. Python allows no other thread to set a signal's handler.
    Where SIGTERM is ignored, it ends no run, and nothing is changed.
    """
    global _is_settled
    previous = signal.getsignal(signal.SIGTERM)
    if not isinstance(previous, _Handler) and previous != signal.SIG_IGN:
        signal.signal(signal.SIGTERM, _Handler(previous))
    _is_settled = True


class _Handler:
    """Reports, then does what the handler did in whose place this one is.

    Each has a predecessor of its own: a server puts its own handler in this one's place, and this one back when it ends.
    """

    def __init__(self, previous: Any) -> None:
        self._previous = previous

    def __call__(self, number: int, frame: FrameType | None) -> None:
        try:
            _report_all("the agent's process was stopped (SIGTERM)")
        finally:
            if callable(self._previous):
                self._previous(number, frame)
            else:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                os.kill(os.getpid(), signal.SIGTERM)


def _report_all(why: str) -> None:
    """Report every run that goes on, at the same time, and wait for LIMIT at most."""
    until = time.monotonic() + LIMIT
    waiting = []
    for run in list(_going_on.values()):
        done = _thread.allocate_lock()
        done.acquire()
        try:
            # An object of `threading` would take locks that the interrupted thread may hold.
            _thread.start_new_thread(_abandon, (run, why, until, done))
            waiting.append(done)
        except Exception:
            # No thread can be started, or not any more.
            _abandon(run, why, until, done)
    for done in waiting:
        done.acquire(timeout=max(until - time.monotonic(), 0.0))


def _abandon(run: Run, why: str, until: float, done: _thread.LockType) -> None:
    try:
        run._abandon(why, until)
    except Exception:
        log.exception("the end of %r was not reported", run)
    finally:
        done.release()


def _after_fork() -> None:
    """Forget the parent's runs in a child: they go on in the parent, whatever becomes of the child."""
    _going_on.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
