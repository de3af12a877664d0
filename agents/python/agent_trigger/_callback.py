"""The member `callback` of a request: where a detached run reports, and until when."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit


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


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    is_local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and is_local))


def _seconds(deadline: object) -> float | None:
    """Read milliseconds since 1970, or a time as RFC 3339 has it."""
    if isinstance(deadline, bool):
        return None
    if isinstance(deadline, (int, float)):
        return deadline / 1000
    if isinstance(deadline, str):
        try:
            at = datetime.fromisoformat(deadline.replace("Z", "+00:00"))
        except ValueError:
            return None
        return (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp()
    return None
