"""A detached run, as the agent sees it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import random
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from . import _signals, _values
from ._callback import Callback, read
from ._in_turn import InTurn
from ._said import Said, Usage
from ._sender import LEAST_TIMEOUT, Answer, Report, ReportNotDelivered, Result, Sender, deliver, lighter, sender_of

log = logging.getLogger("agent_trigger")

#: The longest interval of heartbeats: a detached run lasts a day at most.
LONGEST_HEARTBEAT = 86_400
#: The seconds for which the report of an end is tried again, unless the deadline is nearer.
END_LIMIT = 900.0
#: The seconds for which a report waits for the one that is being sent, and the report of a process that ends.
TURN_LIMIT = 15.0
LAST_TURN_LIMIT = 1.0

#: The name of the thread that sends heartbeats.
BEATS = "agent-trigger-heartbeat"


class Cancelled(Exception):
    """The run should stop: somebody asked for it, or nobody waits for its result any more."""

    #: The run that raised it. Its own block swallows it, and that of another run does not.
    run: Run | None = None


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
    if heartbeat_seconds is not None and not 0 < heartbeat_seconds <= LONGEST_HEARTBEAT:
        raise ValueError(f"heartbeat_seconds must be more than 0 and at most {LONGEST_HEARTBEAT}, or None")
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
        self._said = Said(callback, repr(self))
        # The first of each counts. `setdefault` is atomic, and works inside a signal's handler.
        self._end: dict[str, Report] = {}
        self._reason: dict[str, tuple[str]] = {}
        # The process in which the block was entered. A child that is forked in it says nothing.
        self._process: int | None = None
        # The block is being left, and what is said from now on comes too late.
        self._is_over = False
        # The end is answered or given up. The heartbeats go on until then, or the run would be overdue meanwhile.
        self._ended = threading.Event()
        self._stop = threading.Event()
        self._turn = InTurn()
        self._beats: threading.Thread | None = None
        # The end of the process reports as well, and then nobody else does.
        self._until = math.inf
        self._last_words: Answer | None = None
        self._process_ends = threading.Event()
        self._task: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pending_cancels = 0
        self._has_cancelled_task = False

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
            cancelled = Cancelled(self._why)
            cancelled.run = self
            raise cancelled

    def progress(self, output: object = None, usage: Usage | None = None) -> None:
        """Say how far the run is: its answer so far, and the tokens that it has used so far.

        It may be called often: the next heartbeat carries the tokens, and the report of a failure carries both. Raises
        Cancelled if the run should stop.
        """
        self._said.progress(output, usage)
        self.check()

    def complete(self, output: object = "", usage: Usage | None = None, finish_reason: str | None = None) -> None:
        """Say that the work is done. It is reported when the block is left, unless the block is left by an exception.

        An output that is no text is reported as JSON, and what JSON does not know as `str` shows it. If it is called
        again, the last output counts. Raises RuntimeError once the block has been left.
        """
        if self._is_over:
            raise RuntimeError(f"{self!r} has been left: its end is reported, and no output can be added")
        self._said.complete(output, usage, finish_reason)

    def fail(self, error: object, finish_reason: str | None = None) -> None:
        """Say that the work has failed, in words or by an exception. An exception that leaves the block does the same.

        It is reported when the block is left, whatever is said after it.
        """
        self._said.fail(error, finish_reason)

    def __enter__(self) -> Run:
        self._enter(None, END_LIMIT)
        return self

    def _enter(self, prepare: Callable[[], None] | None, limit: float) -> None:
        """Begin the run. If that fails, no block follows whose end could be reported: the run has failed then."""
        if self._process is not None:
            raise RuntimeError(f"{self!r} has begun before: a run is one block")
        self._process = os.getpid()
        try:
            _signals.add(self)
            if prepare is not None:
                prepare()
            self._start_beats()
        except BaseException as error:
            self._task = None
            self.fail(f"the agent could not begin the run: {_values.words(error)}")
            self._leave(error, False, limit)
            raise

    def _start_beats(self) -> None:
        if self._heartbeat is not None:
            beats = threading.Thread(target=self._beat, name=BEATS, daemon=True)
            beats.start()
            self._beats = beats

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return self._leave(error, self._is_own(error), END_LIMIT)

    async def __aenter__(self) -> Run:
        # Where no thread can be started, none can send the end either. The loop is not held for longer.
        self._enter(self._join_loop, _signals.LIMIT)
        return self

    def _join_loop(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        if self._task is not None and hasattr(self._task, "cancelling"):
            self._pending_cancels = self._task.cancelling()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        # From here on the task is not cancelled for this run any more: both happen in the loop's own thread.
        task, self._task = self._task, None
        is_own = self._is_own(error)
        if self._has_cancelled_task and task is not None:
            # Somebody else may have cancelled the task too. That cancellation goes on.
            is_last = not hasattr(task, "uncancel") or task.uncancel() <= self._pending_cancels
            is_own = is_own or (is_last and isinstance(error, asyncio.CancelledError))
        if isinstance(error, GeneratorExit):
            # A coroutine that is closed may not wait for anything. Its loop may be closed as well.
            return self._leave(error, is_own, _signals.LIMIT)
        # Now, not in the thread: SIGTERM may come before it runs.
        self._settle(error, is_own)
        return await _in_a_thread(lambda limit: self._leave(error, is_own, limit))

    def _is_own(self, error: BaseException | None, levels: int = _values.LEVELS) -> bool:
        """Return true for the exception of `check` alone, or for a group of nothing else."""
        if isinstance(error, Cancelled):
            return error.run is None or error.run is self
        inner = () if error is None or levels == 0 else _values.inner_errors(error)
        return bool(inner) and all(self._is_own(one, levels - 1) for one in inner)

    def _leave(self, error: BaseException | None, is_own: bool, limit: float) -> bool:
        """Report the end. Return true if the exception shall not go on."""
        if self._process != os.getpid():
            # A child that was forked within the block. The run goes on in its parent.
            return is_own
        self._settle(error, is_own)
        try:
            answer = self._conclude(limit)
        except BaseException:
            # Such as that of Ctrl+C. It leaves the block, and the process may go on without it.
            self._conclude_later()
            raise
        if error is None and answer.result is not Result.NOTED and answer.result is not Result.ENDED:
            raise ReportNotDelivered(self._complaint(answer))
        return is_own

    def _conclude(self, limit: float) -> Answer:
        """Send the end until it is answered or given up. Only then the heartbeats stop."""
        answer = self._report_end(min(self.callback.seconds_left(), limit))
        self._ended.set()
        _signals.remove(self)
        if answer.result is not Result.NOTED:
            log.error("%s", self._complaint(answer))
        return answer

    def _conclude_later(self) -> None:
        """Go on with an end that was interrupted. If no thread can be started, it is left to the process's end."""
        if self._until == math.inf and not self._ended.is_set():
            with contextlib.suppress(Exception):
                threading.Thread(
                    target=self._conclude, args=(END_LIMIT,), name="agent-trigger-end", daemon=True
                ).start()

    def _complaint(self, answer: Answer) -> str:
        return f"the end of {self.callback.execution_id} was not recorded: {answer.result.value} ({answer.detail})"

    def _settle(self, error: BaseException | None, is_own: bool) -> None:
        """Set the end as the block is left. Nothing that is said or happens later changes it."""
        if self._process == os.getpid():
            self._is_over = True
            self._set_end(self._said.end(error, self._why if is_own else None))

    @property
    def _why(self) -> str:
        return self._reason["why"][0] if self._reason else "the run was cancelled"

    def _set_end(self, report: Report) -> None:
        self._end.setdefault("report", report)

    def _report_end(self, seconds: float) -> Answer:
        """Send the end, between two heartbeats."""
        if self._until == math.inf:
            answer = self._deliver_end(time.monotonic() + seconds, TURN_LIMIT, self._pause)
            if self._until == math.inf or answer.result is not Result.RETRY:
                return answer
        # The end of the process reports this very end, within its own time.
        self._process_ends.wait(max(self._until - time.monotonic(), 0.0))
        return self._last_words or Answer(Result.RETRY, detail="the process ends")

    def _deliver_end(self, until: float, patience: float, pause: Callable[[float], object]) -> Answer:
        """Send the end, and a lighter one if it is refused: an end without its output is better than none."""
        report = self._end["report"]

        def left() -> float:
            return until - time.monotonic()

        sender = self._turn.sender(self._sender, left, patience)
        answer = deliver(sender, report, left, pause)
        for way in lighter(report):
            if answer.result is not Result.UNREADABLE:
                break
            answer = deliver(sender, way, left, pause)
            if answer.result is Result.NOTED:
                log.error("the end of %s was refused at first, and is recorded with less", self.callback.execution_id)
        return answer

    def _pause(self, seconds: float) -> bool:
        log.info("the end of %s is sent again in %.1f s", self.callback.execution_id, seconds)
        return self._process_ends.wait(seconds)

    def _abandon(self, why: str, until: float) -> None:
        """Report the end when the process ends. An end that was set before is sent again, which changes nothing.

        Until it is sent nothing is logged and no event is set: the thread that a signal has interrupted may hold the
        lock for it.
        """
        first = self._until == math.inf
        self._until = min(self._until, until)
        if not first and self._until <= time.monotonic():
            return
        # An output alone is no end: until the block is left, an exception may follow it. `_settle` has set the end then.
        self._set_end(self._said.abandoned(why))
        # While the block sends the end, its turn may be that of the thread that was interrupted.
        patience = 0.0 if self._is_over else LAST_TURN_LIMIT
        self._last_words = self._deliver_end(self._until - LEAST_TIMEOUT, patience, time.sleep)
        _signals.remove(self)
        self._ended.set()
        self._process_ends.set()
        if self._last_words.result is not Result.NOTED:
            log.error("the end of %s was not recorded: %s", self.callback.execution_id, self._last_words.result.value)
        self._stop_because(why)

    def _beat(self) -> None:
        """Send a heartbeat as often as promised, until the end is answered or given up, or the run has ended."""
        assert self._heartbeat is not None
        pause = 0.0
        while True:
            # A little early, and not at the same time as the agents that began at the same time.
            pause = max(self._heartbeat * random.uniform(0.85, 0.95), pause)
            if self._ended.wait(min(pause, max(self.callback.seconds_left(), 0.0))):
                return
            pause = 0.0
            try:
                if self.callback.seconds_left() <= 0:
                    # No heartbeat counts any more. The end does, until the run is recorded as overdue.
                    if not self._is_over:
                        self._stop_because("the run's deadline has passed")
                    return
                answer = self._send_beat(time.monotonic() + self._heartbeat)
                pause = answer.retry_after
                if self._hears(answer):
                    return
            except Exception:
                # Such as that of a log's filter. The next heartbeat comes all the same.
                with contextlib.suppress(Exception):
                    log.exception("a heartbeat of %s failed", self.callback.execution_id)

    def _send_beat(self, until: float) -> Answer:
        report = self._said.heartbeat()

        def left() -> float:
            return until - time.monotonic()

        return deliver(self._turn.sender(self._sender, left, TURN_LIMIT), report, left, self._ended.wait)

    def _hears(self, answer: Answer) -> bool:
        """Do what the answer to a heartbeat says. Return true if there shall be no further one."""
        if self._is_over or self._end:
            # The end says more than a heartbeat. That the run has ended may be this very end, whose answer was lost.
            return False
        if answer.result is Result.ENDED or answer.result is Result.UNKNOWN:
            self._stop_because(f"{answer.result.value} ({answer.detail})")
            return True
        if answer.result is not Result.NOTED:
            log.warning("a heartbeat of %s: %s (%s)", self.callback.execution_id, answer.result.value, answer.detail)
        if answer.cancel:
            self._stop_because("the run was cancelled")
        return False

    def _stop_because(self, why: str) -> None:
        mine = (why,)
        if self._reason.setdefault("why", mine) is not mine:
            return
        log.warning("the run %s should stop: %s", self.callback.execution_id, why)
        self._stop.set()
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self._cancel_task)
            except RuntimeError:
                # The loop is closed, and the task with it.
                pass
        if self._on_cancel is not None:
            # In a thread of its own: the heartbeats go on while it cleans up.
            thread = threading.Thread(target=self._call_on_cancel, name="agent-trigger-on-cancel", daemon=True)
            try:
                thread.start()
            except Exception:
                # No thread can be started. That of the heartbeats does it, and at the end of the process nobody.
                if threading.current_thread().name == BEATS:
                    self._call_on_cancel()

    def _cancel_task(self) -> None:
        """Cancel the task, unless it has left the block meanwhile."""
        if self._task is not None:
            self._has_cancelled_task = True
            self._task.cancel()

    def _call_on_cancel(self) -> None:
        assert self._on_cancel is not None
        try:
            self._on_cancel()
        except Exception:
            log.exception("on_cancel failed")


async def _in_a_thread(work: Callable[[float], bool]) -> bool:
    """Wait for work that blocks for so many seconds at most. The loop's own threads may all be busy with the agent's."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bool] = loop.create_future()

    def settle(result: bool, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    def run() -> None:
        result, failure = False, None
        try:
            result = work(END_LIMIT)
        except Exception as error:
            failure = error
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:
            # The loop was closed meanwhile, and nobody waits any more.
            pass

    try:
        threading.Thread(target=run, name="agent-trigger-end", daemon=True).start()
    except Exception:
        # No thread can be started. The loop waits, but not for long: it has others to answer.
        return work(_signals.LIMIT)
    return await done
