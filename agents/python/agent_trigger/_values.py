"""What an agent says, as JSON. Nothing here raises: the end of a run must not be lost for a value that is no JSON."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Mapping
from typing import Any

#: The counts that a record keeps.
COUNTS = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
#: The levels of a value that are kept. What is deeper is shown as CUT, and so is a value within itself.
LEVELS = 64
CUT = "…"
#: The levels of groups of exceptions that are named. An exception of others may hold itself.
GROUP_LEVELS = 4


def text(value: object) -> str:
    """Return a text as it is, and any other value as JSON. What JSON does not know is shown as `str` shows it."""
    try:
        plain = _plain(value, ())
        return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
    except Exception:
        return _shown(value)


def words(error: object, levels: int = GROUP_LEVELS) -> str:
    """Return the words for a failure: a text, or the kind of an exception and its message."""
    if not isinstance(error, BaseException):
        return text(error)
    parts = [_shown(error)] if _shown(error) else []
    if levels > 0:
        # A group names none of its exceptions in its own message.
        parts += [words(inner, levels - 1) for inner in inner_errors(error)[:3]]
    return ": ".join([type(error).__name__, "; ".join(parts)] if parts else [type(error).__name__])


def inner_errors(error: BaseException) -> tuple[BaseException, ...]:
    """Return the exceptions of a group. Python 3.10 has no type for it."""
    try:
        inner = getattr(error, "exceptions", ())
    except Exception:
        return ()
    is_group = isinstance(inner, tuple) and all(isinstance(one, BaseException) for one in inner)
    return inner if is_group else ()


def counts(usage: object) -> tuple[dict[str, int] | None, list[str]]:
    """Return the usable counts of a usage, or None without any, and the names of what was unusable."""
    if usage is None:
        return None, []
    try:
        found = {name: usage[name] for name in COUNTS if name in usage} if isinstance(usage, Mapping) else None
    except Exception:
        found = None
    if found is None:
        return None, ["usage"]
    read = {name: _count(value) for name, value in found.items() if value is not None}
    usable = {name: count for name, count in read.items() if count is not None}
    return usable or None, [name for name, count in read.items() if count is None]


def _count(value: Any) -> int | None:
    """Read a whole number. A record holds one of 63 bits."""
    try:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, str):
            value = int(value) if len(value) < 20 else None
        count = None if isinstance(value, bool) else operator.index(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return count if count is not None and 0 <= count < 2**63 else None


def _plain(value: object, above: tuple[int, ...]) -> object:
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        # Python refuses to write a number of thousands of digits.
        return value if value.bit_length() <= 1024 else hex(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "backslashreplace")
    is_container = isinstance(value, (Mapping, list, tuple, set, frozenset))
    if is_container and (id(value) in above or len(above) >= LEVELS):
        return CUT
    within = (*above, id(value))
    if isinstance(value, Mapping):
        return {text(name): _plain(member, within) for name, member in list(value.items())}
    if isinstance(value, (list, tuple)):
        return [_plain(item, within) for item in list(value)]
    if isinstance(value, (set, frozenset)):
        # A set has no order, and the same report must not have two spellings.
        return sorted((_plain(item, within) for item in list(value)), key=text)
    return _shown(value)


def _shown(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"
