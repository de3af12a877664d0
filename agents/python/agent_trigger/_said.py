"""What an agent has said about its run, and the reports that this makes."""

from __future__ import annotations

import logging
from typing import TypedDict

from . import _values
from ._callback import Callback
from ._sender import Report

log = logging.getLogger("agent_trigger")

#: The longest text of an error, in characters. A record keeps 1 KiB.
LONGEST_ERROR = 1_000
#: The longest finish reason, in characters.
LONGEST_REASON = 100


class Usage(TypedDict, total=False):
    """Tokens that the run has used so far."""

    inputTokens: int
    outputTokens: int
    cacheReadInputTokens: int
    cacheWriteInputTokens: int


class Said:
    """What has been said so far. Members are set one by one, so that two threads do not undo each other's."""

    def __init__(self, callback: Callback, name: str) -> None:
        self._ids = {"executionId": callback.execution_id, "triggerId": callback.trigger_id}
        self._name = name
        self._progress: Report = {}
        self._completed: Report | None = None
        self._failed: Report | None = None
        self._has_complained = False

    def progress(self, output: object, usage: Usage | None) -> None:
        """Take the answer so far, and the tokens so far."""
        if output is not None:
            self._progress["output"] = _values.text(output)
        self._note(usage)

    def complete(self, output: object, usage: Usage | None, finish_reason: str | None) -> None:
        """Take the answer. The last one counts."""
        self._note(usage)
        members: Report = {"finishReason": _short(finish_reason)}
        if output is not None:
            members["output"] = _values.text(output)
        self._completed = _without_none(members)

    def fail(self, error: object, finish_reason: str | None = None) -> None:
        """Take the words for a failure, or an exception. The first one counts."""
        if self._failed is None:
            self._failed = _without_none({"error": _error(error), "finishReason": _short(finish_reason)})

    def heartbeat(self) -> Report:
        """Return the report of a run that goes on. A record has no place for its answer."""
        return self._report("running", {"usage": self._progress.get("usage")})

    def end(self, error: BaseException | None, cancelled: str | None) -> Report:
        """Return the report of the end of a block that is left, with this exception if by one.

        `cancelled` is why the run should stop, if it is left for that. What `fail` said comes first: an exception may
        only be its consequence.
        """
        if self._failed is not None:
            return self._failure(self._failed)
        if cancelled is not None:
            return self._failure({"error": cancelled, "finishReason": "cancelled"})
        if error is not None:
            return self._failure({"error": _error(error)})
        if self._completed is not None:
            return self._report("completed", {**self._progress, "output": None, **self._completed})
        return self._failure({"error": "the agent left the run without completing it"})

    def abandoned(self, why: str) -> Report:
        """Return the report of the end of a block that is not left: an output alone is no end."""
        return self._failure(self._failed or {"error": why})

    def _note(self, usage: object) -> None:
        counts, unusable = _values.counts(usage)
        if counts is not None:
            self._progress["usage"] = counts
        if unusable and not self._has_complained:
            self._has_complained = True
            names = ", ".join(unusable)
            log.warning("the usage of %s is not reported where it is no whole number: %s", self._name, names)

    def _failure(self, members: Report) -> Report:
        return self._report("failed", {**self._progress, **members})

    def _report(self, status: str, members: Report) -> Report:
        return _without_none({**self._ids, "status": status, **members})


def _error(error: object) -> str:
    return _values.words(error)[:LONGEST_ERROR]


def _short(finish_reason: object) -> str | None:
    return None if finish_reason is None else _values.text(finish_reason)[:LONGEST_REASON]


def _without_none(members: Report) -> Report:
    return {name: value for name, value in members.items() if value is not None}
