"""The helper against a real HTTP server: what it sends after each end, and what it does with each answer.

Run it with `python -m unittest discover -s tests` in this folder's parent.
"""

import asyncio
import json
import logging
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import unittest
from datetime import datetime, timezone
from pathlib import Path
from unittest import mock

from endpoint import CANCEL, NOTED, TOKEN, TORN, Endpoint, answer

import agent_trigger
from agent_trigger import NotDetached, ReportNotDelivered, detached, is_detached
from agent_trigger import _sender
from agent_trigger._callback import read

#: Short enough for a test, and a heartbeat all the same.
BEAT = 0.05
NEVER = 3600


class Case(unittest.TestCase):
    def setUp(self):
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        before = signal.getsignal(signal.SIGTERM)
        self.addCleanup(signal.signal, signal.SIGTERM, before)
        # The pauses between two tries begin at 0 and are not what is tested. Heartbeats are, so they come as promised.
        patched = mock.patch.object(random, "uniform", lambda low, high: high if low else 0.01)
        patched.start()
        self.addCleanup(patched.stop)

    def endpoint(self, *answers):
        endpoint = Endpoint(*answers)
        self.addCleanup(endpoint.close)
        return endpoint


class Ends(Case):
    def test_acknowledged_heartbeats_completed(self):
        endpoint = self.endpoint()
        run = detached(endpoint.payload(), heartbeat_seconds=BEAT)
        self.assertEqual(
            run.acknowledgement, {"status": "accepted", "executionId": "execution-1", "heartbeatSeconds": 1}
        )
        with run:
            run.progress("two of three", {"inputTokens": 5})
            endpoint.wait_for(24)
            run.complete("three of three", {"inputTokens": 7, "outputTokens": 3})
        reports = endpoint.reports()
        *beats, end = reports
        self.assertGreaterEqual(len(beats), 24)
        ids = {"executionId": "execution-1", "triggerId": "trigger-1"}
        for beat in beats[1:]:
            self.assertEqual(beat, {**ids, "status": "running", "usage": {"inputTokens": 5}})
        usage = {"inputTokens": 7, "outputTokens": 3}
        self.assertEqual(end, {**ids, "status": "completed", "output": "three of three", "usage": usage})
        headers = endpoint.requests[0][0]
        self.assertEqual(headers["Authorization"], f"Bearer {TOKEN}")
        time.sleep(3 * BEAT)
        self.assertEqual(len(endpoint.reports()), len(reports), "no heartbeat follows the end")

    def test_the_usage_of_the_last_progress_is_the_runs(self):
        endpoint = self.endpoint()
        with detached(endpoint.payload(), heartbeat_seconds=NEVER) as run:
            run.progress(usage={"outputTokens": 2})
            run.complete("done")
        self.assertEqual(endpoint.reports()[0]["usage"], {"outputTokens": 2})

    def test_any_exception_is_reported_and_goes_on(self):
        for error, words in [
            (ValueError("no such file"), "ValueError: no such file"),
            (KeyboardInterrupt(), "KeyboardInterrupt: "),
            (SystemExit(3), "SystemExit: 3"),
            (RuntimeError("x" * 5_000), f"RuntimeError: {'x' * 5_000}"[:1_000]),
        ]:
            with self.subTest(words[:30]):
                endpoint = self.endpoint()
                with self.assertRaises(type(error)):
                    with detached(endpoint.payload(), heartbeat_seconds=NEVER) as run:
                        run.progress("half", {"inputTokens": 1})
                        # What is raised after it counts: the agent may not have kept its answer.
                        run.complete("whole")
                        raise error
                (report,) = endpoint.reports()
                self.assertEqual((report["status"], report["error"]), ("failed", words))
                self.assertEqual((report["output"], report["usage"]), ("half", {"inputTokens": 1}))

    def test_a_block_that_is_left_without_an_end_has_failed(self):
        endpoint = self.endpoint()
        with detached(endpoint.payload(), heartbeat_seconds=NEVER):
            pass
        (report,) = endpoint.reports()
        self.assertEqual(report["status"], "failed")
        self.assertIn("without completing", report["error"])

    def test_fail_is_final(self):
        endpoint = self.endpoint()
        with detached(endpoint.payload(), heartbeat_seconds=NEVER) as run:
            run.fail("the model stopped", "max_tokens")
            run.complete("all the same")
        (report,) = endpoint.reports()
        expected = ("failed", "the model stopped", "max_tokens")
        self.assertEqual((report["status"], report["error"], report["finishReason"]), expected)

    def test_whole_seconds_are_promised(self):
        for interval, promised in [(300.0, "300"), (0.05, "1"), (1.5, "2"), (120, "120")]:
            run = detached(self.endpoint().payload(), heartbeat_seconds=interval)
            self.assertEqual(json.dumps(run.acknowledgement["heartbeatSeconds"]), promised)

    def test_without_heartbeats_only_the_end_is_sent(self):
        endpoint = self.endpoint()
        run = detached(endpoint.payload(), heartbeat_seconds=None)
        self.assertNotIn("heartbeatSeconds", run.acknowledgement)
        with run:
            time.sleep(3 * BEAT)
            run.complete("done")
        self.assertEqual(endpoint.statuses(), ["completed"])

    def test_a_large_output_is_cut(self):
        endpoint = self.endpoint()
        with detached(endpoint.payload(), heartbeat_seconds=NEVER) as run:
            run.complete("ü\n\ud800" * 200_000)
        body = json.dumps(endpoint.reports()[0], ensure_ascii=False).encode()
        self.assertLessEqual(len(body), 256 * 1024)
        self.assertGreater(len(body), 64 * 1024)


class Answers(Case):
    def test_429_5xx_and_torn_connections_are_tried_again(self):
        retries = [answer(429, **{"Retry-After": "0"}), answer(503), answer(500), answer(502), TORN]
        endpoint = self.endpoint(*retries)
        with detached(endpoint.payload(), heartbeat_seconds=NEVER) as run:
            run.complete("done")
        self.assertEqual(endpoint.statuses(), ["completed"] * 6)

    def test_retry_after_is_obeyed(self):
        pauses = []
        answers = [_sender.Answer(_sender.Result.RETRY, retry_after=7.0), _sender.Answer(_sender.Result.NOTED)]
        sender = mock.Mock(send=lambda report: answers.pop(0))
        _sender.deliver(sender, {}, NEVER, pauses.append)
        self.assertEqual(pauses, [7.0])

    def test_no_other_answer_is_tried_again(self):
        for status in (400, 401, 403, 404, 409, 413, 302):
            with self.subTest(status):
                endpoint = self.endpoint(answer(status, Location="/elsewhere"))
                with detached(endpoint.payload(), heartbeat_seconds=NEVER) as run:
                    run.complete("done")
                self.assertEqual(len(endpoint.reports()), 1)

    def test_an_end_that_cannot_be_reported_is_an_error(self):
        endpoint = self.endpoint(*[answer(503)] * 1_000)
        payload = endpoint.payload(deadline=int((time.time() + 0.3) * 1000))
        with self.assertRaises(ReportNotDelivered) as raised:
            with detached(payload, heartbeat_seconds=NEVER) as run:
                run.complete("done")
        self.assertNotIn(TOKEN, str(raised.exception))

    def test_cancel_stops_the_work(self):
        endpoint = self.endpoint(NOTED, CANCEL)
        called = threading.Event()
        steps = 0
        with detached(endpoint.payload(), heartbeat_seconds=BEAT, on_cancel=called.set) as run:
            while steps < 10_000:
                steps += 1
                run.progress(f"step {steps}")
                time.sleep(BEAT / 5)
            run.complete("never cancelled")
        self.assertTrue(called.is_set() and run.is_cancelled)
        end = endpoint.reports()[-1]
        self.assertEqual((end["status"], end["finishReason"]), ("failed", "cancelled"))
        self.assertLess(steps, 10_000)

    def test_work_that_was_done_is_completed_although_it_should_have_stopped(self):
        endpoint = self.endpoint(CANCEL)
        with detached(endpoint.payload(), heartbeat_seconds=BEAT) as run:
            while not run.is_cancelled:
                time.sleep(BEAT / 5)
            run.complete("done")
        self.assertEqual(endpoint.statuses()[-1], "completed")

    def test_a_run_that_has_ended_elsewhere_stops(self):
        for status in (401, 409):
            with self.subTest(status):
                endpoint = self.endpoint(answer(status))
                with detached(endpoint.payload(), heartbeat_seconds=BEAT) as run:
                    while True:
                        run.check()
                        time.sleep(BEAT / 5)
                self.assertEqual(endpoint.statuses(), ["running", "failed"])

    def test_a_run_stops_at_its_deadline(self):
        endpoint = self.endpoint()
        payload = endpoint.payload(deadline=int((time.time() + 0.2) * 1000))
        with detached(payload, heartbeat_seconds=BEAT) as run:
            while True:
                run.check()
                time.sleep(BEAT / 5)
        self.assertIn("deadline", endpoint.reports()[-1]["error"])

    def test_a_failed_heartbeat_ends_nothing(self):
        endpoint = self.endpoint(answer(503), TORN, answer(500))
        with detached(endpoint.payload(), heartbeat_seconds=BEAT) as run:
            endpoint.wait_for(6)
            run.complete("done")
        self.assertEqual(endpoint.statuses()[-1], "completed")


class Async(Case):
    def test_a_block_of_a_coroutine(self):
        endpoint = self.endpoint()

        async def work():
            async with detached(endpoint.payload(), heartbeat_seconds=NEVER) as run:
                run.complete("done")

        asyncio.run(work())
        self.assertEqual(endpoint.statuses(), ["completed"])

    def test_cancel_cancels_the_task_and_no_more(self):
        endpoint = self.endpoint(CANCEL)

        async def work():
            async with detached(endpoint.payload(), heartbeat_seconds=BEAT) as run:
                await asyncio.sleep(NEVER)
                run.complete("never")
            await asyncio.sleep(0)
            return "cleaned up"

        self.assertEqual(asyncio.run(work()), "cleaned up")
        end = endpoint.reports()[-1]
        self.assertEqual((end["status"], end["finishReason"]), ("failed", "cancelled"))

    def test_a_cancellation_by_others_goes_on(self):
        endpoint = self.endpoint()

        async def work():
            async with detached(endpoint.payload(), heartbeat_seconds=NEVER):
                await asyncio.sleep(NEVER)

        async def cancel():
            task = asyncio.create_task(work())
            await asyncio.sleep(0.05)
            task.cancel()
            await task

        with self.assertRaises(asyncio.CancelledError):
            asyncio.run(cancel())
        self.assertIn("CancelledError", endpoint.reports()[-1]["error"])

    def test_the_loop_answers_while_the_end_is_sent(self):
        endpoint = self.endpoint(*[answer(503)] * 20)
        turns = 0

        async def work():
            async with detached(endpoint.payload(), heartbeat_seconds=NEVER) as run:
                run.complete("done")

        async def count():
            nonlocal turns
            task = asyncio.create_task(work())
            while not task.done():
                turns += 1
                await asyncio.sleep(0)

        asyncio.run(count())
        self.assertGreater(turns, 10)


class EndOfTheProcess(Case):
    """The process is a real one: signals and exits cannot be had otherwise."""

    def run_agent(self, endpoint, body, ready=None, ends_with=None):
        code = f"payload = {endpoint.payload()!r}\n" + textwrap.dedent(body)
        environment = {**os.environ, "PYTHONPATH": str(Path(agent_trigger.__file__).parent.parent)}
        process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stderr.close)
        if ready is not None:
            endpoint.wait_for(ready)
            process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
        self.assertNotIn(TOKEN, log)
        if ends_with is not None:
            self.assertEqual(process.returncode, ends_with, log)
        return process.returncode

    def test_sigterm_in_the_main_thread(self):
        endpoint = self.endpoint()
        body = """
            import time
            from agent_trigger import detached
            with detached(payload, heartbeat_seconds=0.05) as run:
                time.sleep(60)
        """
        self.run_agent(endpoint, body, ready=2, ends_with=-signal.SIGTERM)
        end = endpoint.reports()[-1]
        self.assertEqual(end["status"], "failed")
        self.assertIn("SIGTERM", end["error"])

    def test_sigterm_while_another_thread_works_and_the_old_handler_follows(self):
        endpoint = self.endpoint()
        body = """
            import signal, sys, threading, time
            from agent_trigger import detached, report_on_sigterm
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
            report_on_sigterm()
            def work():
                with detached(payload, heartbeat_seconds=0.05) as run:
                    time.sleep(60)
            threading.Thread(target=work, daemon=True).start()
            time.sleep(60)
        """
        self.run_agent(endpoint, body, ready=2, ends_with=7)
        self.assertIn("SIGTERM", endpoint.reports()[-1]["error"])

    def test_sigterm_while_the_end_is_sent_sends_the_same_end(self):
        endpoint = self.endpoint(*[answer(503)] * 2)
        body = """
            from agent_trigger import detached
            with detached(payload, heartbeat_seconds=None) as run:
                run.complete("done")
        """
        self.run_agent(endpoint, body, ready=1)
        self.assertEqual(set(endpoint.statuses()), {"completed"})

    def test_a_process_that_ends_under_its_run(self):
        endpoint = self.endpoint()
        body = """
            import threading, time
            from agent_trigger import detached
            begun = threading.Event()
            def work():
                with detached(payload, heartbeat_seconds=60) as run:
                    begun.set()
                    time.sleep(60)
            threading.Thread(target=work, daemon=True).start()
            begun.wait()
        """
        self.run_agent(endpoint, body, ends_with=0)
        self.assertIn("process ended", endpoint.reports()[-1]["error"])


class Callbacks(Case):
    GOOD = {"executionId": "e", "triggerId": "t", "token": TOKEN, "url": "https://example.com/reports"}

    def test_where_it_stands(self):
        for payload in [
            {"callback": self.GOOD},
            {"metadata": {"callback": self.GOOD}},
            {"message": {"metadata": {"callback": self.GOOD}}},
            {"jsonrpc": "2.0", "params": {"message": {"metadata": {"callback": self.GOOD}}}},
        ]:
            self.assertTrue(is_detached(payload))
            self.assertEqual(read(payload).execution_id, "e")
        for payload in [{}, None, [], "text", {"callback": None}, {"callback": "x"}, {"metadata": []}]:
            self.assertFalse(is_detached(payload))
            with self.assertRaises(NotDetached):
                detached(payload)

    def test_what_it_must_hold(self):
        for change in [
            {"token": None},
            {"token": ""},
            {"executionId": 1},
            {"triggerId": ""},
            {"url": None},
            {"url": "http://example.com/reports"},
            {"url": "file:///etc/passwd"},
            {"url": "https:///reports"},
            {"url": "http://127.0.0.1.example.com/"},
        ]:
            with self.subTest(change), self.assertRaises(NotDetached) as raised:
                detached({"callback": {**self.GOOD, **change}})
            self.assertNotIn(TOKEN, str(raised.exception))

    def test_deadlines(self):
        at = datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()
        for given, expected in [
            (int(at * 1000), at),
            ("2026-01-01T00:00:00Z", at),
            ("2026-01-01T00:00:00.000Z", at),
            (None, None),
            ("soon", None),
            (True, None),
        ]:
            self.assertEqual(read({"callback": {**self.GOOD, "deadline": given}}).deadline, expected)

    def test_the_token_is_in_no_text(self):
        run = detached({"callback": self.GOOD})
        for text in (repr(run), str(run), repr(run.callback), str(run.acknowledgement)):
            self.assertNotIn(TOKEN, text)

    def test_heartbeats_of_no_time_are_refused(self):
        for seconds in (0, -1, float("nan")):
            with self.assertRaises(ValueError):
                detached({"callback": self.GOOD}, heartbeat_seconds=seconds)


class Bus(Case):
    def test_a_report_is_an_event_with_the_token(self):
        client = mock.Mock()
        refused = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException"}]}
        client.put_events.side_effect = [refused, RuntimeError("network"), {"FailedEntryCount": 0}]
        sender = _sender.BusSender("reports", TOKEN, client)
        report = {"executionId": "e", "triggerId": "t", "status": "completed", "output": "done"}
        self.assertEqual(_sender.deliver(sender, report, NEVER).result, _sender.Result.NOTED)
        self.assertEqual(client.put_events.call_count, 3)
        (entry,) = client.put_events.call_args.kwargs["Entries"]
        self.assertEqual((entry["EventBusName"], entry["DetailType"]), ("reports", "Agent Report"))
        self.assertEqual(json.loads(entry["Detail"]), {**report, "token": TOKEN})

    def test_a_bus_without_boto3_says_what_is_missing(self):
        with mock.patch.dict(sys.modules, {"boto3": None}):
            callback = {**Callbacks.GOOD, "url": None, "eventBusName": "reports"}
            # No other project's name on PyPI.
            with self.assertRaisesRegex(RuntimeError, r"boto3: pip install '\./agents/python\[bus\]'"):
                detached({"callback": callback})


if __name__ == "__main__":
    unittest.main()
