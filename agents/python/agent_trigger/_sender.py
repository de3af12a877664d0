"""The two ways on which a report travels: an HTTPS request, and an event on a bus."""

from __future__ import annotations

import json
import logging
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from enum import Enum
from http.client import HTTPException, HTTPMessage
from typing import IO, Any, Protocol

from ._callback import Callback

log = logging.getLogger("agent_trigger")

#: The largest report in bytes. The endpoint refuses a larger one with 413, and a bus takes no larger event.
LARGEST = 250_000
#: The seconds that one request may take.
TIMEOUT = 10.0
#: The longest pause between two tries, in seconds.
LONGEST_PAUSE = 60.0

Report = dict[str, Any]


class ReportNotDelivered(RuntimeError):
    """The end could not be reported. The run ends as `ReportOverdue`, whatever the agent did."""


class Result(Enum):
    """What became of a report."""

    NOTED = "noted"
    #: 409: the run has ended in another way, or too early.
    ENDED = "the run has ended already"
    #: 401 and every other status that no further try changes.
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

    def send(self, report: Report) -> Answer:
        """Send one report once."""
        ...


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, because the token would follow it."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


class HttpSender:
    """Sends reports as HTTPS requests with the token as bearer."""

    def __init__(self, url: str, token: str, timeout: float = TIMEOUT) -> None:
        self._url, self._token, self._timeout = url, token, timeout
        self._opener = urllib.request.build_opener(_NoRedirect)

    def send(self, report: Report) -> Answer:
        """Send one report once."""
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
            "User-Agent": "agent-trigger-python",
        }
        request = urllib.request.Request(self._url, data=encoded(report), headers=headers, method="POST")
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                return _noted(response.read(65_536), response.status)
        except urllib.error.HTTPError as error:
            with error:
                return _refused(error.code, error.headers)
        except (OSError, HTTPException) as error:
            return Answer(Result.RETRY, detail=type(error).__name__)


def _noted(body: bytes, status: int) -> Answer:
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    cancel = isinstance(answer, dict) and answer.get("cancel") is True
    return Answer(Result.NOTED, cancel=cancel, detail=str(status))


def _refused(status: int, headers: Message) -> Answer:
    if status == 429 or status >= 500:
        try:
            retry_after = min(max(float(headers.get("Retry-After", "0")), 0.0), LONGEST_PAUSE)
        except ValueError:
            retry_after = 0.0
        return Answer(Result.RETRY, retry_after=retry_after, detail=str(status))
    return Answer(Result.ENDED if status == 409 else Result.REFUSED, detail=str(status))


class BusSender:
    """Sends reports as events. Nobody answers an event, so that a run learns of no cancellation in this way."""

    def __init__(self, event_bus_name: str, token: str, client: Any = None) -> None:
        if client is None:
            try:
                import boto3  # type: ignore[import-untyped,import-not-found,unused-ignore]
            except ImportError as error:
                message = "reports on an event bus need boto3: pip install './agents/python[bus]', or boto3 alone"
                raise RuntimeError(message) from error
            client = boto3.client("events")
        self._bus, self._token, self._client = event_bus_name, token, client

    def send(self, report: Report) -> Answer:
        """Send one report once."""
        detail = encoded({**report, "token": self._token}).decode()
        entry = {"EventBusName": self._bus, "Source": "agent", "DetailType": "Agent Report", "Detail": detail}
        try:
            answer = self._client.put_events(Entries=[entry])
        except Exception as error:
            return Answer(Result.RETRY, detail=type(error).__name__)
        if answer.get("FailedEntryCount"):
            return Answer(Result.RETRY, detail=str(answer["Entries"][0].get("ErrorCode")))
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


def deliver(sender: Sender, report: Report, seconds: float, sleep: Callable[[float], object] = time.sleep) -> Answer:
    """Send a report until it is answered, for at most so many seconds. The first try is always made.

    The pauses grow from half a second and are random, so that many agents do not come back at the same time.
    """
    until, pause = time.monotonic() + seconds, 0.5
    while True:
        answer = sender.send(report)
        wait = max(random.uniform(0, pause), answer.retry_after)
        if answer.result is not Result.RETRY or time.monotonic() + wait >= until:
            return answer
        log.info("the report of %s is sent again: %s", report.get("status"), answer.detail)
        sleep(wait)
        pause = min(pause * 2, LONGEST_PAUSE)
