"""The order of a run's reports: no heartbeat overtakes its end, and none follows it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ._sender import LEAST_TIMEOUT, Answer, Report, Result, Sender


class InTurn:
    """Sends one report at a time. Between two tries of the end the heartbeats have their turn."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # No event, which the thread that a signal has interrupted may have locked.
        self._is_ended = False

    def sender(self, sender: Sender, left: Callable[[], float], patience: float) -> Sender:
        """Return a sender that waits for its turn. After `patience` seconds it sends all the same.

        `left` returns the seconds that are left for all.
        """
        return _Waiting(self, sender, left, patience)

    def send(self, sender: Sender, report: Report, left: Callable[[], float], timeout: float, patience: float) -> Answer:
        """Wait for the turn, then send one report once."""
        has_turn = self._lock.acquire(timeout=max(min(patience, max(left(), LEAST_TIMEOUT)), 0.0))
        try:
            is_beat = report.get("status") == "running"
            if is_beat and self._is_ended:
                return Answer(Result.RETRY, detail="the end came first")
            answer = sender.send(report, min(timeout, max(left(), LEAST_TIMEOUT)))
            if not is_beat and answer.result in (Result.NOTED, Result.ENDED):
                self._is_ended = True
            return answer
        finally:
            if has_turn:
                self._lock.release()


class _Waiting:
    def __init__(self, turn: InTurn, sender: Sender, left: Callable[[], float], patience: float) -> None:
        self._turn, self._sender, self._left, self._patience = turn, sender, left, patience

    def send(self, report: Report, timeout: float) -> Answer:
        """Send one report once, in its turn."""
        return self._turn.send(self._sender, report, self._left, timeout, self._patience)
