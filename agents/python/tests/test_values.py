"""What an agent says, as JSON: a table of what is no JSON."""

import json
import unittest
from datetime import datetime
from decimal import Decimal
from enum import Enum, IntEnum

from agent_trigger._values import LEVELS, counts, text, words


class Shy:
    """Has no text, and no members that can be read."""

    def __str__(self):
        raise ValueError("no text")


class Torn(dict):
    def items(self):
        raise RuntimeError("dictionary changed size during iteration")


class Colour(str, Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Values(unittest.TestCase):
    def test_texts(self):
        cycle = {"name": "cycle"}
        cycle["self"] = [cycle]
        twice = [1]
        for value, expected in [
            ("as it is\n\ud800", "as it is\n\ud800"),
            ("", ""),
            (None, "null"),
            (True, "true"),
            (3.0, "3.0"),
            (float("nan"), "nan"),
            (float("-inf"), "-inf"),
            (10**5_000, hex(10**5_000)),
            ({"rate": float("nan")}, '{"rate": "nan"}'),
            ({"a": [1, (2, None)], 3: {"é": b"bytes"}}, '{"a": [1, [2, null]], "3": {"é": "bytes"}}'),
            (b"\xffbytes", "\\xffbytes"),
            (bytearray(b"bytes"), "bytes"),
            (datetime(2026, 1, 31, 7), "2026-01-31 07:00:00"),
            ([datetime(2026, 1, 31, 7)], '["2026-01-31 07:00:00"]'),
            (Decimal("1.10"), "1.10"),
            (Colour.RED, "red"),
            (Level.HIGH, "3"),
            ({"b", "a", 1}, '["1", "a", "b"]'.replace('"1"', "1")),
            (cycle, '{"name": "cycle", "self": ["…"]}'),
            ([twice, twice], "[[1], [1]]"),
            (Shy(), "<Shy>"),
            ([Shy()], '["<Shy>"]'),
            (Torn(a=1), "{'a': 1}"),
        ]:
            with self.subTest(type(value)):
                # The text itself: an enumeration has another one for `str`.
                self.assertEqual(str.__str__(text(value)), expected)

    def test_a_deep_value_is_cut(self):
        deep = []
        for _ in range(100_000):
            deep = [deep]
        self.assertEqual(text(deep), "[" * LEVELS + '"…"' + "]" * LEVELS)
        while deep:
            # One that deep is not freed in one go by every version of Python.
            deep = deep[0]

    def test_whatever_it_is_it_is_json(self):
        for value in [{"a": float("inf")}, {("a", 1): {1: object()}}, [{None: b"\x00"}], {"a": 2**2_000}]:
            self.assertIsInstance(json.loads(text(value), parse_constant=self.fail), (dict, list))

    def test_counts(self):
        for usage, expected, unusable in [
            (None, None, []),
            ({}, None, []),
            ({"inputTokens": 5, "total": float("nan")}, {"inputTokens": 5}, []),
            ({"inputTokens": 5.0, "outputTokens": "7"}, {"inputTokens": 5, "outputTokens": 7}, []),
            ({"inputTokens": None, "outputTokens": 0}, {"outputTokens": 0}, []),
            ({"inputTokens": float("nan"), "outputTokens": 7}, {"outputTokens": 7}, ["inputTokens"]),
            ({"inputTokens": -1}, None, ["inputTokens"]),
            ({"inputTokens": 0.5}, None, ["inputTokens"]),
            ({"inputTokens": 10**5_000}, None, ["inputTokens"]),
            ({"inputTokens": "many"}, None, ["inputTokens"]),
            ({"inputTokens": True}, None, ["inputTokens"]),
            ({"cacheReadInputTokens": [1]}, None, ["cacheReadInputTokens"]),
            ("many", None, ["usage"]),
            (7, None, ["usage"]),
        ]:
            with self.subTest(expected=expected, unusable=unusable):
                self.assertEqual(counts(usage), (expected, unusable))

    def test_words(self):
        for error, expected in [
            ("the model stopped", "the model stopped"),
            (ValueError("no such file"), "ValueError: no such file"),
            (KeyboardInterrupt(), "KeyboardInterrupt"),
            ({"code": 3}, '{"code": 3}'),
        ]:
            self.assertEqual(words(error), expected)


if __name__ == "__main__":
    unittest.main()
