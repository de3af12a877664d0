"""The member `callback` of a request: where a detached run reports, and until when."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit


#: What a URL and a header may consist of.
VISIBLE = re.compile(r"[!-~]+")


class NotDetached(ValueError):
    """The request has no usable callback, so its caller waits for the answer in full."""


@dataclass(frozen=True)
class Callback:
    """Where a run reports. The token is a secret of this run: it never appears in a text of this object."""

    execution_id: str
    trigger_id: str
    token: str = field(repr=False)
    #: The time until which the end must be reported, in seconds since 1970, if the request names one.
    deadline: float | None
    url: str | None
    event_bus_name: str | None

    def seconds_left(self) -> float:
        """Return the seconds until the deadline. It is infinite without one."""
        return float("inf") if self.deadline is None else self.deadline - time.time()


def is_detached(payload: object) -> bool:
    """Return true if the request asks for a detached run. An agent answers any other request in full."""
    return _member(payload) is not None


def read(payload: object) -> Callback:
    """Return the callback of a request's body, or of an A2A message's metadata."""
    found = _member(payload)
    if found is None:
        raise NotDetached("the request has no callback")
    texts = [found.get(name) for name in ("executionId", "triggerId", "token")]
    if not all(isinstance(text, str) and text for text in texts):
        raise NotDetached("the callback needs executionId, triggerId and token")
    url, bus = found.get("url"), found.get("eventBusName")
    url = url if isinstance(url, str) and url else None
    bus = bus if isinstance(bus, str) and bus else None
    if url is None and bus is None:
        raise NotDetached("the callback names neither a url nor an eventBusName")
    if url is not None and not _is_safe(url):
        # The token is sent there.
        raise NotDetached("the callback's url must begin with https://")
    execution_id, trigger_id, token = (str(text) for text in texts)
    if not VISIBLE.fullmatch(token):
        # The library would refuse the header with an error that quotes it.
        raise NotDetached("the callback's token has a character that no header may have")
    return Callback(execution_id, trigger_id, token, _seconds(found.get("deadline")), url, bus)


def _member(payload: object) -> Mapping[str, Any] | None:
    """Find the member in a body, in metadata, in a message's metadata, or in a JSON-RPC request's message."""
    for path in ((), ("metadata",), ("message", "metadata"), ("params", "message", "metadata")):
        value = payload
        for name in (*path, "callback"):
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, Mapping):
            return value
    return None


def is_local(url: str) -> bool:
    """Return true if a URL is one of this machine."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
        # A port that is none raises when it is read.
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    # Two readers of such a URL may not find the same host in it.
    is_plain = bool(VISIBLE.fullmatch(url)) and "@" not in parts.netloc and "\\" not in url
    return has_host and is_plain and (parts.scheme == "https" or (parts.scheme == "http" and is_local(url)))


def _seconds(deadline: object) -> float | None:
    """Read milliseconds since 1970, or a time as RFC 3339 has it. Anything else is no deadline."""
    if isinstance(deadline, bool):
        return None
    try:
        if isinstance(deadline, (int, float)):
            seconds = deadline / 1000
        elif isinstance(deadline, str):
            at = datetime.fromisoformat(deadline.replace("Z", "+00:00"))
            seconds = (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp()
        else:
            return None
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None
