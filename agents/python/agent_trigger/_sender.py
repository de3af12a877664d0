"""The two ways on which a report travels: an HTTPS request, and an event on a bus."""

from __future__ import annotations

import json
import math
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from email.utils import parsedate_to_datetime
from enum import Enum
from http.client import HTTPMessage
from typing import IO, Any, Protocol

from ._callback import Callback, is_local

#: The largest report in bytes. The endpoint refuses a larger one with 413, and a bus takes no larger event.
LARGEST = 250_000
#: The characters to which an output is cut that the endpoint, or what stands before it, refuses.
SHORTER = 9_000
#: The seconds for which one request may wait for its peer, and those that it has near the end of its time.
TIMEOUT = 10.0
LEAST_TIMEOUT = 2.0
#: The longest pause between two tries, and the first one, in seconds.
LONGEST_PAUSE = 60.0
FIRST_PAUSE = 0.5

Report = dict[str, Any]


class ReportNotDelivered(RuntimeError):
    """The end could not be reported. The run ends as `ReportOverdue`, whatever the agent did."""


class Result(Enum):
    """What became of a report."""

    NOTED = "noted"
    #: 409: the run has ended in another way, or its time is over.
    ENDED = "the run has ended already"
    #: 401: the token is not that of the run, or not any more.
    UNKNOWN = "the run is not known, or has begun anew"
    #: 400, 403 and 413: a lighter report may pass. A firewall answers with 403.
    UNREADABLE = "the report was refused as unreadable or too large"
    #: Every other status that no further try changes.
    REFUSED = "the report was refused"
    RETRY = "the endpoint could not be reached"


@dataclass(frozen=True)
class Answer:
    """The answer to a report."""

    result: Result
    #: True if the run should stop.
    cancel: bool = False
    #: The seconds for which the endpoint asks before another try.
    retry_after: float = 0.0
    #: What it was, for the log: a status or an error's name, never a body.
    detail: str = ""


class Sender(Protocol):
    """A way on which reports travel."""

    def send(self, report: Report, timeout: float) -> Answer:
        """Send one report once, and wait so many seconds for the peer. It raises nothing."""
        ...


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, because the token would follow it."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


class HttpSender:
    """Sends reports as HTTPS requests with the token as bearer."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url, token
        # A proxy would get an HTTP request of this machine in clear. Through HTTPS it sees the host's name alone.
        proxies = [urllib.request.ProxyHandler({})] if is_local(url) else []
        self._opener = urllib.request.build_opener(_NoRedirect, *proxies)

    def send(self, report: Report, timeout: float) -> Answer:
        """Send one report once, and wait so many seconds for the peer. It raises nothing."""
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
            "User-Agent": "agent-trigger-python",
        }
        try:
            request = urllib.request.Request(self._url, data=encoded(report), headers=headers, method="POST")
            with self._opener.open(request, timeout=timeout) as response:
                return _noted(response.read(65_536), response.status)
        except urllib.error.HTTPError as error:
            with error:
                return _refused(error.code, error.headers)
        except Exception as error:
            # The name alone: a message may quote what was sent.
            return Answer(Result.RETRY, detail=type(error).__name__)


def _noted(body: bytes, status: int) -> Answer:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    cancel = isinstance(answer, dict) and answer.get("cancel") is True
    return Answer(Result.NOTED, cancel=cancel, detail=str(status))


def _refused(status: int, headers: Message) -> Answer:
    if status == 429 or status >= 500:
        return Answer(Result.RETRY, retry_after=seconds_of(headers.get("Retry-After")), detail=str(status))
    known = {401: Result.UNKNOWN, 409: Result.ENDED, 400: Result.UNREADABLE, 403: Result.UNREADABLE, 413: Result.UNREADABLE}
    return Answer(known.get(status, Result.REFUSED), detail=str(status))


def seconds_of(retry_after: str | None) -> float:
    """Read the header Retry-After: seconds, or a time. What is longer than LONGEST_PAUSE counts as that."""
    if retry_after is None:
        return 0.0
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return 0.0 if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_PAUSE)


class BusSender:
    """Sends reports as events. Nobody answers an event, so that a run learns of no cancellation in this way."""

    def __init__(self, event_bus_name: str, token: str, client: Any = None) -> None:
        if client is None:
            try:
                import boto3  # type: ignore[import-untyped,import-not-found,unused-ignore]
                from botocore.config import Config  # type: ignore[import-untyped,import-not-found,unused-ignore]
            except ImportError as error:
                message = "reports on an event bus need boto3: pip install './agents/python[bus]', or boto3 alone"
                raise RuntimeError(message) from error
            # It would wait a minute for its peer, five times. The tries are made here.
            limits = Config(connect_timeout=TIMEOUT, read_timeout=TIMEOUT, retries={"total_max_attempts": 1})
            client = boto3.client("events", config=limits)
        self._bus, self._token, self._client = event_bus_name, token, client

    def send(self, report: Report, timeout: float) -> Answer:
        """Send one report once. The client has a time-out of its own. It raises nothing."""
        try:
            detail = encoded({**report, "token": self._token}).decode()
            entry = {"EventBusName": self._bus, "Source": "agent", "DetailType": "Agent Report", "Detail": detail}
            answer = self._client.put_events(Entries=[entry])
            if answer.get("FailedEntryCount"):
                return Answer(Result.RETRY, detail=str(answer["Entries"][0].get("ErrorCode")))
        except Exception as error:
            # The code of an answer, such as AccessDeniedException, says more than the name of boto3's error.
            response = getattr(error, "response", None)
            code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
            return Answer(Result.RETRY, detail=str(code or type(error).__name__))
        return Answer(Result.NOTED)


def sender_of(callback: Callback) -> Sender:
    """Return the way that a callback names. The URL comes first, because its answers say when to stop."""
    if callback.url is not None:
        return HttpSender(callback.url, callback.token)
    if callback.event_bus_name is not None:
        return BusSender(callback.event_bus_name, callback.token)
    raise AssertionError("a callback has one of the two")


def encoded(report: Report) -> bytes:
    """Return a report as JSON of at most LARGEST bytes. Its output is cut if need be: a record keeps only 8 KiB of it."""
    while True:
        # A half of a surrogate pair is no UTF-8.
        body = json.dumps(report, ensure_ascii=False).encode("utf-8", "replace")
        output = report.get("output")
        if len(body) <= LARGEST or not isinstance(output, str) or not output:
            return body
        report = {**report, "output": output[: min(len(output) // 2, LARGEST)]}


def lighter(report: Report) -> list[Report]:
    """Return what may be sent in place of the report of an end that was refused: less output, then the end alone."""
    output = report.get("output")
    shorter: Report = {**report, "output": output[:SHORTER]} if isinstance(output, str) else report
    alone: Report = {name: report[name] for name in ("executionId", "triggerId", "status", "error") if name in report}
    return [way for way, tried in ((shorter, report), (alone, shorter)) if way != tried]


def next_pause(tries: int, retry_after: float, left: float, jitter: float) -> float | None:
    """Return the seconds until the next try, or None if there is no time for one.

    `tries` have been made before, `left` seconds are left, and `jitter` is a random number from 0 to 1: many agents must
    not come back at the same time. The pauses double. The last try is made when the time is over.
    """
    if left <= 0 or retry_after > left:
        return None
    backoff = min(FIRST_PAUSE * 2.0 ** min(tries, 16), LONGEST_PAUSE)
    return min(max(backoff * (0.5 + jitter / 2), retry_after), left)


def deliver(
    sender: Sender, report: Report, left: Callable[[], float], pause: Callable[[float], object] = time.sleep
) -> Answer:
    """Send a report until it is answered, or no time is left. The first try is always made.

    `left` returns the seconds that are left. `pause` waits, and returns true if there shall be no further try.
    """
    tries = 0
    while True:
        answer = sender.send(report, min(TIMEOUT, max(left(), LEAST_TIMEOUT)))
        if answer.result is not Result.RETRY:
            return answer
        seconds = next_pause(tries, answer.retry_after, left(), random.random())
        if seconds is None or pause(seconds):
            return answer
        tries += 1
