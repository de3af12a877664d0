"""The order of a run's reports, one after another and without a thread."""

import unittest
from unittest import mock

from agent_trigger._in_turn import InTurn
from agent_trigger._sender import Answer, Result


class Turns(unittest.TestCase):
    def sender(self, turn, result, patience=60.0):
        """Return a sender that keeps its turn, and the list of what it sent."""
        sent = []

        def send(report, timeout):
            sent.append(report["status"])
            return Answer(result)

        return turn.sender(mock.Mock(send=send), lambda: 60.0, patience), sent

    def test_no_heartbeat_follows_an_end_that_was_answered(self):
        for result, follows in [
            (Result.NOTED, False),
            # An end that is sent again after its answer was lost.
            (Result.ENDED, False),
            (Result.RETRY, True),
            (Result.UNREADABLE, True),
        ]:
            with self.subTest(result):
                sender, sent = self.sender(InTurn(), result)
                for status in ("running", "completed"):
                    sender.send({"status": status}, 1.0)
                # It waited for its turn while the end was sent.
                answer = sender.send({"status": "running"}, 1.0)
                self.assertEqual(sent, ["running", "completed", "running"] if follows else ["running", "completed"])
                self.assertEqual(answer.result, result if follows else Result.RETRY)

    def test_without_patience_a_report_is_sent_out_of_turn(self):
        turn = InTurn()
        self.assertTrue(turn._lock.acquire(blocking=False))
        sender, sent = self.sender(turn, Result.NOTED, patience=0.0)
        sender.send({"status": "failed"}, 1.0)
        self.assertEqual(sent, ["failed"])
        # The turn is still that of the other one.
        self.assertTrue(turn._lock.locked())


if __name__ == "__main__":
    unittest.main()
