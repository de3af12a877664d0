"""The helper against a real HTTP server: what it sends after each end, and what it does with each answer.

Run it with `python -m unittest discover -s tests` in this folder's parent.
"""

import asyncio
import itertools
import json
import os
import sys
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from types import SimpleNamespace
from unittest import mock

from case import BEAT, NEVER, Case
from endpoint import CANCEL, NOTED, TOKEN, TORN, answer

from agent_trigger import Cancelled, NotDetached, ReportNotDelivered, detached, is_detached
from agent_trigger import _run, _sender, _signals
from agent_trigger._callback import read


class Wordless(Exception):
    def __str__(self):
        raise ValueError("no words")


class Closed(Exception):
    @property
    def exceptions(self):
        raise ValueError("closed")


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
        run._beats.join(60)
        self.assertFalse(run._beats.is_alive(), "no heartbeat follows the end")
        self.assertEqual(len(endpoint.reports()), len(reports))

    def test_the_usage_of_the_last_progress_is_the_runs(self):
        endpoint = self.endpoint()
        with detached(endpoint.payload(), heartbeat_seconds=NEVER) as run:
            run.progress(usage={"outputTokens": 2})
            run.complete("done")
        self.assertEqual(endpoint.reports()[0]["usage"], {"outputTokens": 2})

    def test_any_exception_is_reported_and_goes_on(self):
        for error, words in [
            (ValueError("no such file"), "ValueError: no such file"),
            (KeyboardInterrupt(), "KeyboardInterrupt"),
            (GeneratorExit(), "GeneratorExit"),
            (asyncio.CancelledError(), "CancelledError"),
            (Wordless(), "Wordless: <Wordless>"),
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
            run.fail("what came of it")
            run.complete("all the same")
        (report,) = endpoint.reports()
        expected = ("failed", "the model stopped", "max_tokens")
        self.assertEqual((report["status"], report["error"], report["finishReason"]), expected)

    def test_heartbeats_go_on_after_fail(self):
        endpoint = self.endpoint()
        with detached(endpoint.payload(), heartbeat_seconds=BEAT) as run:
            run.fail(FileNotFoundError("orders.csv"))
            endpoint.wait_for(3)
        *beats, end = endpoint.reports()
        self.assertEqual((end["status"], end["error"]), ("failed", "FileNotFoundError: orders.csv"))

    def test_the_last_output_counts_and_after_the_block_none(self):
        endpoint = self.endpoint()
        with detached(endpoint.payload(), heartbeat_seconds=NEVER) as run:
            run.complete("first", {"inputTokens": 1}, "stop")
            run.complete("second")
            run.progress("what is said after it", {"inputTokens": 2})
        (report,) = endpoint.reports()
        self.assertEqual((report["output"], report["usage"]), ("second", {"inputTokens": 2}))
        self.assertNotIn("finishReason", report)
        with self.assertRaisesRegex(RuntimeError, "execution-1.* has been left"):
            run.complete("third")
        self.assertEqual(len(endpoint.reports()), 1)

    def test_a_run_is_one_block(self):
        endpoint = self.endpoint()
        run = detached(endpoint.payload(), heartbeat_seconds=NEVER)
        with run:
            with self.assertRaisesRegex(RuntimeError, "begun before"):
                run.__enter__()
            run.complete("done")
        with self.assertRaisesRegex(RuntimeError, "begun before"), run:
            pass
        self.assertEqual(endpoint.statuses(), ["completed"])

    def test_two_runs_at_once(self):
        endpoint = self.endpoint()
        with detached(endpoint.payload(), heartbeat_seconds=NEVER) as outer:
            with self.assertRaises(KeyError):
                with detached(endpoint.payload(executionId="execution-2"), heartbeat_seconds=NEVER):
                    raise KeyError("inner")
            outer.complete("done")
        ends = [(report["executionId"], report["status"]) for report in endpoint.reports()]
        self.assertEqual(ends, [("execution-2", "failed"), ("execution-1", "completed")])

    def test_a_block_swallows_its_own_cancellation_alone(self):
        endpoint = self.endpoint()
        with detached(endpoint.payload(), heartbeat_seconds=NEVER) as outer:
            with detached(endpoint.payload(executionId="execution-2"), heartbeat_seconds=NEVER):
                outer._stop_because("the run was cancelled")
                outer.check()
            self.fail("the outer run goes on after its cancellation")
        inner, end = endpoint.reports()
        self.assertEqual(inner["error"], "Cancelled: the run was cancelled")
        self.assertNotIn("finishReason", inner)
        self.assertEqual((end["executionId"], end["finishReason"]), ("execution-1", "cancelled"))

    def test_a_group_of_nothing_but_cancellations_is_one(self):
        class Group(Exception):
            # As ExceptionGroup, which Python 3.10 does not have.
            exceptions = ()

        def group(*errors):
            error = Group(f"{len(errors)} errors")
            error.exceptions = errors
            return error

        endpoint = self.endpoint()
        with detached(endpoint.payload(), heartbeat_seconds=NEVER):
            raise group(Cancelled(), group(Cancelled()))
        with self.assertRaises(Group):
            with detached(endpoint.payload(), heartbeat_seconds=NEVER):
                raise group(Cancelled(), KeyError("order"))
        first, second = endpoint.reports()
        self.assertEqual(first["finishReason"], "cancelled")
        self.assertEqual(second["error"], "Group: 2 errors; Cancelled; KeyError: 'order'")

    def test_no_exception_costs_a_run_its_end(self):
        itself = Exception("itself")
        itself.exceptions = (itself,)
        for error in (itself, Closed("a property")):
            with self.subTest(str(error)):
                endpoint = self.endpoint()
                with self.assertRaises(type(error)):
                    with detached(endpoint.payload(), heartbeat_seconds=NEVER):
                        raise error
                (end,) = endpoint.reports()
                self.assertEqual(end["status"], "failed")
                self.assertIn(str(error), end["error"])

    def test_a_report_that_cannot_be_written_at_once_is_sent_again(self):
        endpoint, encoded, failures = self.endpoint(), _sender.encoded, [MemoryError()]

        def scarce(report):
            if failures:
                raise failures.pop()
            return encoded(report)

        with mock.patch.object(_sender, "encoded", scarce):
            with detached(endpoint.payload(), heartbeat_seconds=NEVER) as run:
                run.complete("done")
        self.assertEqual(endpoint.statuses(), ["completed"])

    def test_what_is_no_json_is_reported_as_text(self):
        cycle = []
        cycle.append(cycle)
        for output in [float("nan"), b"\xff", datetime.now(), {1, "a"}, cycle, "\ud800", 10**5_000, object(), {"a": [1]}]:
            with self.subTest(type(output)):
                endpoint = self.endpoint()
                with detached(endpoint.payload(), heartbeat_seconds=BEAT) as run:
                    run.progress(output, {"inputTokens": output, "outputTokens": 3})
                    endpoint.wait_for(2)
                    run.complete(output)
                *beats, end = endpoint.reports()
                self.assertEqual((end["status"], end["usage"]), ("completed", {"outputTokens": 3}))
                self.assertIsInstance(end["output"], str)
                self.assertNotEqual(end["output"], "")
                self.assertEqual(beats[0]["usage"], {"outputTokens": 3})

    def test_whole_seconds_are_promised(self):
        for interval, promised in [(300.0, "300"), (0.05, "1"), (1.5, "2"), (120, "120")]:
            run = detached(self.endpoint().payload(), heartbeat_seconds=interval)
            self.assertEqual(json.dumps(run.acknowledgement["heartbeatSeconds"]), promised)

    def test_without_heartbeats_only_the_end_is_sent(self):
        endpoint = self.endpoint()
        run = detached(endpoint.payload(), heartbeat_seconds=None)
        self.assertNotIn("heartbeatSeconds", run.acknowledgement)
        with run:
            self.assertIsNone(run._beats)
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
        sender = mock.Mock(send=lambda report, timeout: answers.pop(0))
        _sender.deliver(sender, {}, lambda: NEVER, pauses.append)
        self.assertEqual(pauses, [7.0])

    def test_the_next_pause(self):
        for name, (tries, retry_after, left, jitter), expected in [
            ("they double", (0, 0.0, 900.0, 1.0), 0.5),
            ("they double", (3, 0.0, 900.0, 1.0), 4.0),
            ("by chance shorter", (3, 0.0, 900.0, 0.0), 2.0),
            ("up to a minute", (50_000, 0.0, 900.0, 1.0), 60.0),
            ("the last try at the end", (7, 0.0, 10.0, 1.0), 10.0),
            ("and none after it", (7, 0.0, 0.0, 1.0), None),
            ("as the endpoint asks", (0, 30.0, 900.0, 1.0), 30.0),
            ("later than it asks", (7, 30.0, 900.0, 1.0), 60.0),
            ("it asks for more than is left", (0, 30.0, 10.0, 1.0), None),
        ]:
            with self.subTest(name), mock.patch.multiple(_sender, FIRST_PAUSE=0.5, LONGEST_PAUSE=60.0):
                self.assertEqual(_sender.next_pause(tries, retry_after, left, jitter), expected)

    def test_the_header_retry_after(self):
        with mock.patch.multiple(_sender, LONGEST_PAUSE=60.0):
            for text, expected in [
                (None, 0.0),
                ("7", 7.0),
                ("-1", 0.0),
                ("nan", 0.0),
                ("inf", 60.0),
                ("1e400", 60.0),
                ("soon", 0.0),
                ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0),
                ("Fri, 31 Dec 2999 23:59:59 GMT", 60.0),
                ("Fri, 99 Dec 2999 23:59:59 GMT", 0.0),
            ]:
                self.assertEqual(_sender.seconds_of(text), expected, text)

    def test_a_heartbeat_keeps_the_pause_that_the_endpoint_asks_for(self):
        run = detached(self.endpoint(answer(429, **{"Retry-After": "60"})).payload(), heartbeat_seconds=BEAT)
        pauses, is_left = [], iter([False, False, True])
        run._ended = SimpleNamespace(wait=lambda seconds: pauses.append(seconds) or next(is_left), is_set=lambda: False)
        with mock.patch.multiple(_sender, LONGEST_PAUSE=60.0):
            run._beat()
        first, second, third = pauses
        # A little earlier than promised.
        self.assertLess(first, BEAT)
        self.assertEqual(second, 60.0)
        self.assertLess(third, BEAT)

    def test_no_heartbeat_waits_beyond_the_deadline(self):
        run, pauses = detached(self.endpoint().payload(), heartbeat_seconds=NEVER), []
        run.callback = mock.Mock(seconds_left=lambda: 5.0)
        run._ended = SimpleNamespace(wait=lambda seconds: pauses.append(seconds) or True)
        run._beat()
        self.assertEqual(pauses, [5.0])

    def leave(self, answers, count):
        """Leave a block whose end is answered only after so many heartbeats. Return the run and what was sent after it."""
        run = detached(self.endpoint().payload(), heartbeat_seconds=BEAT, on_cancel=lambda: called.append(1))
        sent, called = [], []

        def send(report, timeout):
            is_over = run._is_over
            if is_over:
                sent.append(report["status"])
            if report["status"] == "running":
                return next(answers) if is_over else _sender.Answer(_sender.Result.NOTED)
            # A thousand tries are more than enough, and without an end this would go on for minutes.
            is_done = sent.count("running") >= count or len(sent) > 1_000
            return _sender.Answer(_sender.Result.NOTED if is_done else _sender.Result.RETRY)

        run._sender = mock.Mock(send=send)
        with run:
            run.complete("done")
        run._beats.join(60)
        self.assertFalse(run._beats.is_alive())
        self.assertFalse(run.is_cancelled or called)
        return sent

    def test_heartbeats_go_on_while_the_end_is_tried_again(self):
        noted = itertools.repeat(_sender.Answer(_sender.Result.NOTED))
        sent = self.leave(noted, 5)
        self.assertGreaterEqual(sent.count("running"), 5)
        self.assertGreater(sent.count("completed"), 1)
        self.assertEqual(sent[-1], "completed")

    def test_no_answer_to_a_heartbeat_counts_once_the_block_is_left(self):
        for result in (_sender.Result.ENDED, _sender.Result.UNKNOWN, _sender.Result.RETRY, _sender.Result.REFUSED):
            with self.subTest(result):
                sent = self.leave(itertools.repeat(_sender.Answer(result, cancel=True)), 3)
                self.assertGreaterEqual(sent.count("running"), 3)
                self.assertEqual(sent[-1], "completed")

    def test_a_heartbeat_says_nothing_once_there_is_an_end(self):
        # The process reports one before the block is left.
        for result in (_sender.Result.ENDED, _sender.Result.UNKNOWN, _sender.Result.NOTED):
            run = detached(self.endpoint().payload(), heartbeat_seconds=BEAT)
            run._set_end({"status": "failed"})
            self.assertFalse(run._hears(_sender.Answer(result, cancel=True)))
            self.assertFalse(run.is_cancelled)

    def test_a_deadline_that_passes_after_the_block_cancels_nothing(self):
        endpoint, called = self.endpoint(), []
        run = detached(endpoint.payload(deadline=1), heartbeat_seconds=BEAT, on_cancel=lambda: called.append(1))
        run._is_over = True
        run._beat()
        self.assertFalse(run.is_cancelled or called or endpoint.reports())

    def test_an_end_waits_for_the_heartbeat_that_is_being_sent(self):
        run = detached(self.endpoint().payload(), heartbeat_seconds=BEAT)
        sent, is_beating = [], threading.Event()

        def send(report, timeout):
            if report["status"] == "running":
                is_beating.set()
                while not run._is_over:
                    time.sleep(0)
            sent.append(report["status"])
            return _sender.Answer(_sender.Result.NOTED)

        run._sender = mock.Mock(send=send)
        with run:
            is_beating.wait(60)
            run.complete("done")
        self.assertEqual(sent, ["running", "completed"])

    def test_what_a_heartbeat_raises_ends_no_heartbeats(self):
        endpoint = self.endpoint(answer(404))
        run = detached(endpoint.payload(), heartbeat_seconds=BEAT)
        with mock.patch("agent_trigger._run.log.warning", side_effect=ValueError("a filter")), run:
            endpoint.wait_for(3)
            run.complete("done")
        self.assertEqual(endpoint.statuses()[-1], "completed")

    def test_heartbeats_go_on_after_what_no_further_try_changes(self):
        for status in (400, 403, 404, 413, 302):
            with self.subTest(status):
                endpoint = self.endpoint(*[answer(status)] * 2)
                with detached(endpoint.payload(), heartbeat_seconds=BEAT) as run:
                    endpoint.wait_for(4)
                    run.check()
                    run.complete("done")
                self.assertEqual(endpoint.statuses()[-1], "completed")

    def test_a_refused_end_is_sent_with_less(self):
        for refusals, length, usage in [(0, 20_000, True), (1, 9_000, True), (2, None, False)]:
            for status in (400, 403, 413):
                with self.subTest((refusals, status)):
                    endpoint = self.endpoint(*[answer(status)] * refusals)
                    with detached(endpoint.payload(), heartbeat_seconds=NEVER) as run:
                        run.complete("x" * 20_000, {"inputTokens": 1})
                    end = endpoint.reports()[-1]
                    self.assertEqual(endpoint.statuses(), ["completed"] * (refusals + 1))
                    self.assertEqual(len(end["output"]) if "output" in end else None, length)
                    self.assertEqual("usage" in end, usage)

    def test_no_other_answer_is_tried_again_and_each_is_an_error(self):
        for status in (401, 404, 302, 307, 418):
            with self.subTest(status):
                elsewhere = self.endpoint()
                endpoint = self.endpoint(answer(status, Location=elsewhere.url))
                with self.assertRaisesRegex(ReportNotDelivered, str(status)):
                    with detached(endpoint.payload(), heartbeat_seconds=NEVER) as run:
                        run.complete("done")
                self.assertEqual((len(endpoint.reports()), elsewhere.reports()), (1, []))

    def test_an_end_that_is_refused_in_every_form_is_an_error(self):
        endpoint = self.endpoint(*[answer(400)] * 9)
        with self.assertRaisesRegex(ReportNotDelivered, "400"):
            with detached(endpoint.payload(), heartbeat_seconds=NEVER) as run:
                run.complete("done")
        self.assertEqual(len(endpoint.reports()), 2)

    def test_an_end_that_comes_too_late_is_none(self):
        endpoint = self.endpoint(answer(409))
        with detached(endpoint.payload(), heartbeat_seconds=NEVER) as run:
            run.complete("done")
        self.assertEqual(endpoint.statuses(), ["completed"])

    def test_an_answer_that_is_no_object_says_nothing(self):
        for body in (b"", b"[1]", b"\xff", b"[" * 60_000, b'{"cancel": "yes"}'):
            self.assertFalse(_sender._noted(body, 200).cancel)

    def test_an_exception_within_the_block_is_not_hidden_by_the_report(self):
        endpoint = self.endpoint(answer(404))
        with self.assertRaises(KeyError):
            with detached(endpoint.payload(), heartbeat_seconds=NEVER):
                raise KeyError("order")

    def test_no_proxy_sees_what_goes_to_this_machine(self):
        proxy, endpoint = self.endpoint(), self.endpoint()
        with mock.patch.dict(os.environ, {"http_proxy": proxy.url, "no_proxy": ""}):
            with detached(endpoint.payload(), heartbeat_seconds=NEVER) as run:
                run.complete("done")
        self.assertEqual((proxy.reports(), endpoint.statuses()), ([], ["completed"]))

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
        # It is called in a thread of its own, which may come after the end.
        self.assertTrue(called.wait(60) and run.is_cancelled)
        end = endpoint.reports()[-1]
        self.assertEqual((end["status"], end["finishReason"]), ("failed", "cancelled"))
        self.assertLess(steps, 10_000)

    def test_work_that_was_done_is_completed_although_it_should_have_stopped(self):
        endpoint = self.endpoint(CANCEL)
        with detached(endpoint.payload(), heartbeat_seconds=BEAT) as run:
            with self.assertRaises(Cancelled):
                self.work_until_stopped(run)
            run.complete("done")
        self.assertEqual(endpoint.statuses()[-1], "completed")

    def test_a_run_that_has_ended_elsewhere_stops(self):
        for status in (401, 409):
            with self.subTest(status):
                endpoint = self.endpoint(answer(status))
                with detached(endpoint.payload(), heartbeat_seconds=BEAT) as run:
                    self.work_until_stopped(run)
                self.assertEqual(endpoint.statuses(), ["running", "failed"])

    def test_a_run_stops_at_its_deadline(self):
        endpoint = self.endpoint()
        payload = endpoint.payload(deadline=int((time.time() + 0.2) * 1000))
        with detached(payload, heartbeat_seconds=BEAT) as run:
            self.work_until_stopped(run)
        self.assertIn("deadline", endpoint.reports()[-1]["error"])

    def test_a_failed_heartbeat_ends_nothing(self):
        endpoint = self.endpoint(answer(503), TORN, answer(500))
        with detached(endpoint.payload(), heartbeat_seconds=BEAT) as run:
            endpoint.wait_for(6)
            run.complete("done")
        self.assertEqual(endpoint.statuses()[-1], "completed")

    def test_heartbeats_go_on_while_on_cancel_cleans_up(self):
        endpoint = self.endpoint(CANCEL)
        may_end = threading.Event()
        with detached(endpoint.payload(), heartbeat_seconds=BEAT, on_cancel=lambda: may_end.wait(60)) as run:
            endpoint.wait_for(4)
            may_end.set()
            run.complete("done")
        self.assertEqual(endpoint.statuses()[-1], "completed")


class Async(Case):
    def test_a_cancellation_that_comes_as_the_block_is_left_hits_nothing(self):
        endpoint = self.endpoint()

        async def work():
            async with detached(endpoint.payload(), heartbeat_seconds=NEVER) as run:
                run.complete("done")
                # The loop cannot act on it before the block is left.
                thread = threading.Thread(target=run._stop_because, args=("the run was cancelled",))
                thread.start()
                thread.join()
            await asyncio.sleep(0)
            return "went on"

        self.assertEqual(asyncio.run(work()), "went on")
        self.assertEqual(endpoint.statuses(), ["completed"])

    def test_a_caught_cancellation_leaves_nothing_behind(self):
        endpoint = self.endpoint(CANCEL)

        async def work():
            async with detached(endpoint.payload(), heartbeat_seconds=BEAT) as run:
                try:
                    await asyncio.sleep(NEVER)
                except asyncio.CancelledError:
                    run.complete("what was done")
            task = asyncio.current_task()
            return task.cancelling() if hasattr(task, "cancelling") else 0

        self.assertEqual(asyncio.run(work()), 0)
        self.assertEqual(endpoint.statuses()[-1], "completed")

    def test_a_block_that_was_left_is_not_reported_as_going_on(self):
        endpoint = self.endpoint()
        run = detached(endpoint.payload(), heartbeat_seconds=NEVER)
        start = threading.Thread.start

        def late(thread):
            # The process ends before the thread that sends the end.
            if thread.name == "agent-trigger-end":
                run._abandon("the process was stopped", time.monotonic() + 60)
            start(thread)

        async def work():
            async with run:
                run.complete("done")
                patched = mock.patch.object(threading.Thread, "start", late)
                patched.start()
                self.addCleanup(patched.stop)

        asyncio.run(work())
        self.assertEqual(endpoint.statuses(), ["completed"])

    def test_the_end_is_sent_although_all_of_the_loops_threads_are_busy(self):
        endpoint = self.endpoint()
        may_end = threading.Event()

        async def work():
            loop = asyncio.get_running_loop()
            loop.set_default_executor(ThreadPoolExecutor(1))
            busy = loop.run_in_executor(None, may_end.wait, 60)
            async with detached(endpoint.payload(), heartbeat_seconds=NEVER) as run:
                run.complete("done")
            self.assertFalse(busy.done())
            may_end.set()
            await busy

        asyncio.run(work())
        self.assertEqual(endpoint.statuses(), ["completed"])

    def test_a_coroutine_that_is_closed_reports_as_well(self):
        endpoint = self.endpoint()

        async def work():
            async with detached(endpoint.payload(), heartbeat_seconds=NEVER):
                await asyncio.sleep(NEVER)

        async def begin(coroutine):
            # As a task does it, but nobody ends this one.
            coroutine.send(None)

        coroutine = work()
        asyncio.run(begin(coroutine))
        coroutine.close()
        self.assertEqual([report["error"] for report in endpoint.reports()], ["GeneratorExit"])

    def test_an_end_that_cannot_be_reported_is_an_error_here_too(self):
        endpoint = self.endpoint(answer(404))

        async def work():
            async with detached(endpoint.payload(), heartbeat_seconds=NEVER) as run:
                run.complete("done")

        with self.assertRaises(ReportNotDelivered):
            asyncio.run(work())

    def test_the_end_is_sent_although_its_task_is_cancelled_meanwhile(self):
        endpoint = self.endpoint()
        run = detached(endpoint.payload(), heartbeat_seconds=NEVER)
        is_sending, may_end, sender = threading.Event(), threading.Event(), run._sender

        def send(report, timeout):
            is_sending.set()
            may_end.wait(60)
            return sender.send(report, timeout)

        run._sender = mock.Mock(send=send)

        async def work():
            async with run:
                run.complete("done")

        async def cancel():
            task = asyncio.create_task(work())
            while not is_sending.is_set():
                await asyncio.sleep(0)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            may_end.set()

        asyncio.run(cancel())
        endpoint.wait_for(1)
        self.assertEqual(endpoint.statuses(), ["completed"])

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

    def test_a_cancellation_by_others_goes_on_although_the_run_should_stop(self):
        endpoint = self.endpoint()

        async def work():
            async with detached(endpoint.payload(), heartbeat_seconds=NEVER) as run:
                # The loop has not acted on it yet.
                run._stop.set()
                asyncio.current_task().cancel()
                await asyncio.sleep(NEVER)

        with self.assertRaises(asyncio.CancelledError):
            asyncio.run(work())
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


class NoThread(Case):
    """A machine that starts no thread any more: each run ends with a report all the same."""

    def without(self, *names, error=None):
        """Let no thread of these names be started from now on."""
        start = threading.Thread.start

        def refuse(thread):
            if thread.name in names:
                raise error or RuntimeError("can't start new thread")
            start(thread)

        patched = mock.patch.object(threading.Thread, "start", refuse)
        patched.start()
        self.addCleanup(patched.stop)

    def assert_not_begun(self, endpoint, run):
        (end,) = endpoint.reports()
        words = "the agent could not begin the run: RuntimeError: can't start new thread"
        self.assertEqual((end["status"], end["error"]), ("failed", words))
        self.assertNotIn(id(run), _signals._going_on)
        self.assertTrue(run._ended.is_set() and run._is_over)
        with self.assertRaisesRegex(RuntimeError, "begun before"), run:
            pass
        with self.assertRaisesRegex(RuntimeError, "has been left"):
            run.complete("late")
        self.assertEqual(len(endpoint.reports()), 1)

    def test_a_block_without_heartbeats_is_not_entered(self):
        endpoint = self.endpoint()
        self.without("agent-trigger-heartbeat")
        run = detached(endpoint.payload(), heartbeat_seconds=BEAT)
        with self.assertRaisesRegex(RuntimeError, "can't start new thread"), run:
            self.fail("the block was entered")
        self.assert_not_begun(endpoint, run)

    def test_a_block_of_a_coroutine_without_heartbeats_is_not_entered(self):
        endpoint = self.endpoint()
        self.without("agent-trigger-heartbeat", "agent-trigger-end")
        run = detached(endpoint.payload(), heartbeat_seconds=BEAT)

        async def work():
            with self.assertRaisesRegex(RuntimeError, "can't start new thread"):
                async with run:
                    self.fail("the block was entered")
            # Nothing cancels the task for this run.
            run._stop_because("the run was cancelled")
            await asyncio.sleep(0)
            return "went on"

        self.assertEqual(asyncio.run(work()), "went on")
        self.assert_not_begun(endpoint, run)

    def test_a_block_that_cannot_be_entered_has_failed(self):
        # Outside asyncio there is no loop, and in a part of the interpreter no signal can be handled.
        for name, enter in [
            ("no running event loop", lambda run: run.__aenter__().send(None)),
            ("signal only works", lambda run: run.__enter__()),
        ]:
            with self.subTest(name):
                endpoint = self.endpoint()
                run = detached(endpoint.payload(), heartbeat_seconds=NEVER)
                error = ValueError(name) if "signal" in name else None
                with mock.patch.object(_signals, "report_on_sigterm", side_effect=error):
                    with self.assertRaisesRegex((RuntimeError, ValueError), name):
                        enter(run)
                (end,) = endpoint.reports()
                self.assertEqual(end["status"], "failed")
                self.assertIn(name, end["error"])
                self.assertNotIn(id(run), _signals._going_on)
                self.assertIsNone(run._beats)

    def test_a_coroutine_that_is_not_entered_does_not_hold_the_loop_for_long(self):
        self.without("agent-trigger-heartbeat")
        run, limits = detached(self.endpoint().payload(), heartbeat_seconds=BEAT), []

        def conclude(limit):
            limits.append(limit)
            return _sender.Answer(_sender.Result.NOTED)

        async def work():
            async with run:
                self.fail("the block was entered")

        with mock.patch.object(run, "_conclude", conclude), self.assertRaises(RuntimeError):
            asyncio.run(work())
        self.assertEqual(limits, [_signals.LIMIT])
        _signals.remove(run)

    def test_the_end_of_a_coroutine_is_sent_without_a_thread(self):
        for error in (None, MemoryError()):
            with self.subTest(error):
                endpoint = self.endpoint(answer(503))
                self.without("agent-trigger-end", error=error)

                async def work():
                    async with detached(endpoint.payload(), heartbeat_seconds=NEVER) as run:
                        run.complete("done")

                asyncio.run(work())
                self.assertEqual(endpoint.statuses(), ["completed", "completed"])

    def test_the_loop_is_not_held_for_long_without_a_thread(self):
        self.without("agent-trigger-end")
        limits = []

        def leave(limit):
            limits.append(limit)
            return False

        asyncio.run(_run._in_a_thread(leave))
        self.assertEqual(limits, [_signals.LIMIT])

    def test_on_cancel_is_called_by_the_heartbeats_without_a_thread(self):
        endpoint = self.endpoint(CANCEL)
        self.without("agent-trigger-on-cancel")
        called = threading.Event()
        with detached(endpoint.payload(), heartbeat_seconds=BEAT, on_cancel=called.set) as run:
            self.assertTrue(called.wait(60))
            run.complete("done")
        self.assertEqual(endpoint.statuses()[-1], "completed")

    def test_on_cancel_is_not_called_by_the_end_of_the_process_without_a_thread(self):
        endpoint, called = self.endpoint(), []
        self.without("agent-trigger-on-cancel")
        run = detached(endpoint.payload(), heartbeat_seconds=None, on_cancel=lambda: called.append(1))
        run._abandon("the process was stopped", time.monotonic() + 60)
        self.assertEqual((endpoint.statuses(), called), (["failed"], []))


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
            {"token": TOKEN + "\r\nHost: example.org"},
            {"token": TOKEN + "é"},
            {"executionId": 1},
            {"triggerId": ""},
            {"url": None},
            {"url": "http://example.com/reports"},
            {"url": "file:///etc/passwd"},
            {"url": "https:///reports"},
            {"url": "http://127.0.0.1.example.com/"},
            {"url": "http://127.0.0.1@example.com/"},
            {"url": "http://example.com\\@127.0.0.1/"},
            {"url": "https://example.com\\.example.org/"},
            {"url": "https://user:password@example.com/"},
            {"url": "https://example.com:port/"},
            {"url": "https://[::1/"},
            {"url": "https://example.com/a b"},
            {"url": "https://example.com/\nx"},
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
            (float("nan"), None),
            (float("inf"), None),
            (10**400, None),
            (-1, -0.001),
            ([], None),
        ]:
            self.assertEqual(read({"callback": {**self.GOOD, "deadline": given}}).deadline, expected)

    def test_the_token_is_in_no_text(self):
        run = detached({"callback": self.GOOD})
        for text in (repr(run), str(run), repr(run.callback), str(run.acknowledgement)):
            self.assertNotIn(TOKEN, text)

    def test_heartbeats_of_no_time_are_refused(self):
        for seconds in (0, -1, float("nan"), float("inf")):
            with self.assertRaises(ValueError):
                detached({"callback": self.GOOD}, heartbeat_seconds=seconds)


class Bus(Case):
    def test_a_report_is_an_event_with_the_token(self):
        client = mock.Mock()
        refused = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException"}]}
        malformed = {"FailedEntryCount": 1, "Entries": []}
        client.put_events.side_effect = [refused, RuntimeError("network"), malformed, {"FailedEntryCount": 0}]
        sender = _sender.BusSender("reports", TOKEN, client)
        report = {"executionId": "e", "triggerId": "t", "status": "completed", "output": "done"}
        self.assertEqual(_sender.deliver(sender, report, lambda: NEVER).result, _sender.Result.NOTED)
        self.assertEqual(client.put_events.call_count, 4)
        (entry,) = client.put_events.call_args.kwargs["Entries"]
        self.assertEqual((entry["EventBusName"], entry["DetailType"]), ("reports", "Agent Report"))
        self.assertEqual(json.loads(entry["Detail"]), {**report, "token": TOKEN})

    def test_a_refusal_by_the_bus_is_named_by_its_code(self):
        error = RuntimeError("An error occurred")
        error.response = {"Error": {"Code": "AccessDeniedException"}}
        client = mock.Mock(put_events=mock.Mock(side_effect=error))
        self.assertEqual(_sender.BusSender("reports", TOKEN, client).send({}, 1).detail, "AccessDeniedException")

    def test_boto3_does_not_wait_for_minutes(self):
        boto3, config = mock.Mock(), mock.Mock()
        with mock.patch.dict(sys.modules, {"boto3": boto3, "botocore": mock.Mock(), "botocore.config": config}):
            detached({"callback": {**Callbacks.GOOD, "url": None, "eventBusName": "reports"}})
        boto3.client.assert_called_once_with("events", config=config.Config.return_value)
        config.Config.assert_called_once_with(connect_timeout=10, read_timeout=10, retries={"total_max_attempts": 1})

    def test_a_bus_without_boto3_says_what_is_missing(self):
        with mock.patch.dict(sys.modules, {"boto3": None}):
            callback = {**Callbacks.GOOD, "url": None, "eventBusName": "reports"}
            # No other project's name on PyPI.
            with self.assertRaisesRegex(RuntimeError, r"boto3: pip install '\./agents/python\[bus\]'"):
                detached({"callback": callback})


if __name__ == "__main__":
    unittest.main()
