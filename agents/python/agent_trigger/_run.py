"""A detached run, as the agent sees it."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypedDict

from . import _signals
from ._callback import Callback, read
from ._sender import Answer, Report, ReportNotDelivered, Result, Sender, deliver, sender_of

log = logging.getLogger("agent_trigger")

#: The longest text of an error, in characters. A record keeps 1 KiB.
LONGEST_ERROR = 1_000
#: The seconds for which the report of an end is tried again, unless the deadline is nearer.
END_LIMIT = 900.0


class Usage(TypedDict, total=False):
    """Tokens that the run has used so far."""

    inputTokens: int
    outputTokens: int
    cacheReadInputTokens: int
    cacheWriteInputTokens: int


class Cancelled(Exception):
    """The run should stop: somebody asked for it, or nobody waits for its result any more."""


def detached(
    payload: object,
    *,
    heartbeat_seconds: float | None = 120,
    on_cancel: Callable[[], object] | None = None,
) -> Run:
    """Return the detached run that a request asks for.

    `payload` is the request's body, or the metadata of an A2A message. A heartbeat is promised every
    `heartbeat_seconds`; if three of them do not come, the run is recorded as `ReportOverdue`. With None nothing is
    promised, only the end is reported, and the run does not learn that it should stop. `on_cancel` is called once, in
    another thread, when it should.

    Raises NotDetached if the request has no callback.
    """
    if heartbeat_seconds is not None and not heartbeat_seconds > 0:
        raise ValueError("heartbeat_seconds must be more than 0, or None")
    callback = read(payload)
    return Run(callback, sender_of(callback), heartbeat_seconds, on_cancel)


class Run:
    """A detached run. Use it as a block, `with` or `async with`, around all the work.

    In an `async with` block the task is cancelled when the run should stop. In a `with` block `progress` and `check`
    raise Cancelled then, so call one of them between two steps.
    """

    def __init__(
        self,
        callback: Callback,
        sender: Sender,
        heartbeat_seconds: float | None,
        on_cancel: Callable[[], object] | None = None,
    ) -> None:
        self.callback = callback
        self._sender = sender
        self._heartbeat = heartbeat_seconds
        self._on_cancel = on_cancel
        self._progress: Report = {}
        self._completed: Report | None = None
        # The first report of an end counts. `setdefault` is atomic, and works inside a signal's handler.
        self._end: dict[str, Report] = {}
        self._left = threading.Event()
        self._stop = threading.Event()
        self._why = "the run was cancelled"
        self._sending = threading.Lock()
        self._task: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pending_cancels = 0
        self._was_cancelled_here = False

    def __repr__(self) -> str:
        return f"Run({self.callback.execution_id!r})"

    @property
    def acknowledgement(self) -> dict[str, Any]:
        """The answer to the call, as a JSON object. It repeats the execution's id, or it would acknowledge nothing."""
        answer: dict[str, Any] = {"status": "accepted", "executionId": self.callback.execution_id}
        if self._heartbeat is not None:
            # The promise is in whole seconds. One that is longer than the interval is kept all the more.
            answer["heartbeatSeconds"] = math.ceil(self._heartbeat)
        return answer

    @property
    def is_cancelled(self) -> bool:
        """True if the run should stop."""
        return self._stop.is_set()

    def check(self) -> None:
        """Raise Cancelled if the run should stop."""
        if self._stop.is_set():
            raise Cancelled(self._why)

    def progress(self, output: str | None = None, usage: Usage | None = None) -> None:
        """Say how far the run is: its answer so far, and the tokens that it has used so far.

        It may be called often: the next heartbeat carries the tokens, and the report of a failure carries both. Raises
        Cancelled if the run should stop.
        """
        self._progress = _without_none({**self._progress, **_without_none({"output": output, "usage": usage})})
        self.check()

    def complete(self, output: str = "", usage: Usage | None = None, finish_reason: str | None = None) -> None:
        """Say that the work is done. It is reported when the block is left, unless the block is left by an exception."""
        usage = usage if usage is not None else self._progress.get("usage")
        self._completed = _without_none({"output": output, "usage": usage, "finishReason": finish_reason})

    def fail(self, error: str, finish_reason: str | None = None) -> None:
        """Say that the work has failed. An exception that leaves the block does the same."""
        self._completed = None
        self._set_end(self._failure(error, finish_reason))

    def __enter__(self) -> Run:
        _signals.add(self)
        if self._heartbeat is not None:
            threading.Thread(target=self._beat, name="agent-trigger-heartbeat", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        is_own = isinstance(error, Cancelled) or self._was_cancelled_here
        if is_own:
            self._set_end(self._failure(self._why, "cancelled"))
        elif error is not None:
            self._set_end(self._failure(f"{type(error).__name__}: {error}", None))
        else:
            self._set_end(self._result())
        try:
            answer = self._report_end(min(self.callback.seconds_left(), END_LIMIT))
        finally:
            _signals.remove(self)
        if answer.result is Result.RETRY and error is None:
            raise ReportNotDelivered(f"the end of {self.callback.execution_id} was not reported: {answer.detail}")
        return is_own

    async def __aenter__(self) -> Run:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        if self._task is not None and hasattr(self._task, "cancelling"):
            self._pending_cancels = self._task.cancelling()
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        task, self._task = self._task, None
        self._was_cancelled_here = isinstance(error, asyncio.CancelledError) and self.is_cancelled
        if self._was_cancelled_here and task is not None and hasattr(task, "uncancel"):
            # Somebody else may have cancelled the task too. That cancellation goes on.
            self._was_cancelled_here = task.uncancel() <= self._pending_cancels
        # Sending blocks, and the event loop has to answer AgentCore's /ping meanwhile.
        return await asyncio.to_thread(self.__exit__, kind, error, trace)

    def _result(self) -> Report:
        if self._completed is not None:
            return self._report("completed", self._completed)
        return self._failure("the agent left the run without completing it", None)

    def _failure(self, error: str, finish_reason: str | None) -> Report:
        reached = {**self._progress, "error": error[:LONGEST_ERROR], "finishReason": finish_reason}
        return self._report("failed", _without_none(reached))

    def _report(self, status: str, members: Report) -> Report:
        ids = {"executionId": self.callback.execution_id, "triggerId": self.callback.trigger_id}
        return {**ids, "status": status, **members}

    def _set_end(self, report: Report) -> Report:
        return self._end.setdefault("report", report)

    def _report_end(self, seconds: float) -> Answer:
        """Stop the heartbeats and send the end. One that is being sent is waited for, so that it is not late."""
        self._left.set()
        is_quiet = self._sending.acquire(timeout=15)
        try:
            answer = deliver(self._sender, self._end["report"], seconds)
        finally:
            if is_quiet:
                self._sending.release()
        if answer.result is not Result.NOTED:
            log.error("the end of %s was not noted: %s (%s)", self.callback.execution_id, answer.result.value, answer.detail)
        return answer

    def _abandon(self, why: str, seconds: float) -> None:
        """Report the end when the process ends. An end that was set before is sent again, which changes nothing."""
        result = self._report("completed", self._completed) if self._completed is not None else self._failure(why, None)
        self._set_end(result)
        self._left.set()
        deliver(self._sender, self._end["report"], seconds)
        _signals.remove(self)

    def _beat(self) -> None:
        """Send a heartbeat as often as promised, until the block is left or the run should stop."""
        assert self._heartbeat is not None
        # A little early, and not at the same time as the agents that began at the same time.
        while not self._left.wait(self._heartbeat * random.uniform(0.85, 0.95)):
            with self._sending:
                if self._end:
                    return
                # A record has no place for the answer of a run that goes on.
                usage = self._progress.get("usage")
                report = self._report("running", _without_none({"usage": usage}))
                answer = deliver(self._sender, report, self._heartbeat, self._left.wait)
            if answer.result is Result.ENDED or answer.result is Result.REFUSED:
                self._stop_because(f"{answer.result.value} ({answer.detail})")
                return
            if answer.cancel:
                self._stop_because("the run was cancelled")
            elif self.callback.seconds_left() <= 0:
                self._stop_because("the run's deadline has passed")

    def _stop_because(self, why: str) -> None:
        if self._stop.is_set():
            return
        log.warning("the run %s should stop: %s", self.callback.execution_id, why)
        self._why = why
        self._stop.set()
        loop, task = self._loop, self._task
        if loop is not None and task is not None:
            try:
                loop.call_soon_threadsafe(task.cancel)
            except RuntimeError:
                # The loop is closed, and the task with it.
                pass
        if self._on_cancel is not None:
            try:
                self._on_cancel()
            except Exception:
                log.exception("on_cancel failed")


def _without_none(members: Report) -> Report:
    return {name: value for name, value in members.items() if value is not None}
