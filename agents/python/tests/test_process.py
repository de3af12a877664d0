"""The end of the process, in processes of their own: signals, exits and forks cannot be had otherwise."""

import signal
import threading
import time
import unittest
from unittest import mock

from case import NEVER, Case
from endpoint import answer

from agent_trigger import _run, _sender, _signals, detached, report_on_sigterm


class EndOfTheProcess(Case):
    """The process is a real one: signals and exits cannot be had otherwise."""

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

    def test_an_output_is_no_end_until_the_block_is_left(self):
        for way, words, code in [
            ("time.sleep(60)", "SIGTERM", -signal.SIGTERM),
            ("threading.Thread(target=lambda: time.sleep(60), daemon=True).start(); sys.exit(0)", "SystemExit", 0),
        ]:
            with self.subTest(words):
                endpoint = self.endpoint()
                body = f"""
                    import sys, threading, time
                    from agent_trigger import detached
                    with detached(payload, heartbeat_seconds=0.05) as run:
                        run.progress("partial 1 of 2")
                        run.complete("partial 1 of 2")
                        {way}
                """
                self.run_agent(endpoint, body, ready=2 if code else None, ends_with=code)
                end = endpoint.reports()[-1]
                self.assertEqual((end["status"], end["output"]), ("failed", "partial 1 of 2"))
                self.assertIn(words, end["error"])

    def test_an_output_of_a_thread_that_the_process_ends_under_is_no_end(self):
        endpoint = self.endpoint()
        body = """
            import threading, time
            from agent_trigger import detached
            said = threading.Event()
            def work():
                with detached(payload, heartbeat_seconds=None) as run:
                    run.complete("partial 1 of 2")
                    said.set()
                    time.sleep(60)
            threading.Thread(target=work, daemon=True).start()
            said.wait()
        """
        self.run_agent(endpoint, body, ends_with=0)
        (end,) = endpoint.reports()
        self.assertEqual(end["status"], "failed")
        self.assertIn("process ended", end["error"])

    def test_what_fail_said_is_the_end_that_the_process_reports(self):
        endpoint = self.endpoint()
        run = detached(endpoint.payload(), heartbeat_seconds=NEVER)
        run.fail("the model stopped", "max_tokens")
        run.complete("all the same")
        run._abandon("the process was stopped", time.monotonic() + 60)
        (end,) = endpoint.reports()
        expected = ("failed", "the model stopped", "max_tokens")
        self.assertEqual((end["status"], end["error"], end["finishReason"]), expected)

    def test_a_process_that_sigterm_ends_within_its_block_does_not_go_on_trying(self):
        # Without a bound it would try for 15 minutes, and run_agent waits for one.
        endpoint = self.endpoint(*[answer(503)] * 1_000)
        body = """
            import signal, sys, time
            from agent_trigger import _signals, detached
            _signals.LIMIT = 2.5
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
            with detached(payload, heartbeat_seconds=0.05) as run:
                time.sleep(60)
        """
        self.run_agent(endpoint, body, ready=1, ends_with=7)
        # Heartbeats go on between two tries, and after the last one.
        ends = [report for report in endpoint.reports() if report["status"] != "running"]
        self.assertIn("SIGTERM", ends[-1]["error"])

    def test_sigterm_ends_the_tries_of_another_thread(self):
        endpoint = self.endpoint(*[answer(503)] * 1_000)
        body = """
            import signal, sys, threading, time
            from agent_trigger import _signals, detached, report_on_sigterm
            _signals.LIMIT = 2.5
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
            report_on_sigterm()
            def work():
                with detached(payload, heartbeat_seconds=None) as run:
                    run.complete("done")
            threading.Thread(target=work).start()
            time.sleep(60)
        """
        self.run_agent(endpoint, body, ready=1, ends_with=7)
        self.assertEqual(set(endpoint.statuses()), {"completed"})

    def test_a_process_that_goes_on_after_sigterm_learns_that_its_run_is_over(self):
        endpoint = self.endpoint()
        body = """
            import signal, sys, time
            from agent_trigger import detached
            signal.signal(signal.SIGTERM, lambda *_: None)
            with detached(payload, heartbeat_seconds=0.05) as run:
                while True:
                    run.check()
                    time.sleep(0.01)
            sys.exit(5)
        """
        self.run_agent(endpoint, body, ready=1, ends_with=5)
        self.assertEqual([status for status in endpoint.statuses() if status != "running"], ["failed"])
        self.assertIn("SIGTERM", endpoint.reports()[-1]["error"])

    def test_where_sigterm_is_ignored_it_ends_no_run(self):
        endpoint = self.endpoint()
        body = """
            import signal, sys, time, os
            from agent_trigger import detached
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            with detached(payload, heartbeat_seconds=None) as run:
                os.kill(os.getpid(), signal.SIGTERM)
                run.complete("done")
            sys.exit(5)
        """
        self.run_agent(endpoint, body, ends_with=5)
        self.assertEqual(endpoint.statuses(), ["completed"])

    def test_a_server_that_puts_its_own_handler_in_place_and_the_old_one_back(self):
        # As uvicorn does it, which sends itself the signal again at its end.
        endpoint = self.endpoint()
        body = """
            import signal, threading
            from agent_trigger import detached, report_on_sigterm
            report_on_sigterm()
            is_stopping = threading.Event()
            before = signal.signal(signal.SIGTERM, lambda *_: is_stopping.set())
            with detached(payload, heartbeat_seconds=0.05) as run:
                while not is_stopping.is_set():
                    is_stopping.wait(0.01)
            signal.signal(signal.SIGTERM, before)
            signal.raise_signal(signal.SIGTERM)
            print("not reached")
        """
        self.run_agent(endpoint, body, ready=1, ends_with=-signal.SIGTERM)
        self.assertIn("SIGTERM", endpoint.reports()[-1]["error"])

    def test_a_handler_is_set_once(self):
        report_on_sigterm()
        handler = signal.getsignal(signal.SIGTERM)
        self.assertIsInstance(handler, _signals._Handler)
        report_on_sigterm()
        self.assertIs(signal.getsignal(signal.SIGTERM), handler)

    def test_all_runs_share_the_time_that_is_left(self):
        untils, may_end = [], threading.Event()
        self.addCleanup(may_end.set)

        def hang(why, until):
            untils.append(until)
            may_end.wait(60)

        runs = {n: mock.Mock(_abandon=hang) for n in range(3)}
        with mock.patch.object(_signals, "_going_on", runs), mock.patch.object(_signals, "LIMIT", 0.05):
            _signals._report_all("the end")
        self.assertEqual(len(set(untils)), 1)

    def test_a_run_whose_time_is_over_is_not_tried_again(self):
        endpoint = self.endpoint()
        run = detached(endpoint.payload(), heartbeat_seconds=NEVER)
        run._abandon("the process was stopped", time.monotonic() - 1)
        run._abandon("the process ended", time.monotonic() + 60)
        self.assertEqual([report["error"] for report in endpoint.reports()], ["the process was stopped"])

    def test_an_interpreter_that_starts_no_thread_any_more(self):
        for error in (RuntimeError("can't start new thread"), MemoryError()):
            with self.subTest(error):
                endpoint = self.endpoint()
                run = detached(endpoint.payload(), heartbeat_seconds=NEVER)
                with mock.patch.object(_signals, "_going_on", {1: run}):
                    with mock.patch("_thread.start_new_thread", side_effect=error):
                        _signals._report_all("the process ended")
                self.assertEqual([report["error"] for report in endpoint.reports()], ["the process ended"])

    def test_the_end_of_the_process_waits_for_no_turn_that_it_may_have_interrupted(self):
        for is_over, patience in [(True, 0.0), (False, _run.LAST_TURN_LIMIT)]:
            endpoint = self.endpoint()
            run = detached(endpoint.payload(), heartbeat_seconds=None)
            run._is_over = is_over
            until = time.monotonic() + 60
            with (
                mock.patch.object(run, "_turn", mock.Mock(wraps=run._turn)) as turn,
                mock.patch.object(run, "_deliver_end", mock.Mock(wraps=run._deliver_end)) as deliver,
            ):
                run._abandon("the process was stopped", until)
            self.assertEqual([call.args[2] for call in turn.sender.call_args_list], [patience])
            # The last try has its time before the process ends.
            self.assertEqual(deliver.call_args.args[0], until - _sender.LEAST_TIMEOUT)
            self.assertEqual(endpoint.statuses(), ["failed"])

    def test_an_end_that_was_noted_is_delivered_although_the_process_ends(self):
        run = detached(self.endpoint().payload(), heartbeat_seconds=None)

        def send(report, timeout):
            # The process ends meanwhile, and has no time left for a report of its own.
            run._until = time.monotonic() - 1
            return _sender.Answer(_sender.Result.NOTED)

        run._sender = mock.Mock(send=send)
        with run:
            run.complete("done")
        self.assertEqual(run._end["report"]["status"], "completed")

    def test_an_end_that_is_interrupted_is_sent_by_another_thread(self):
        # The process may go on after Ctrl+C, as a notebook's does.
        endpoint = self.endpoint()
        run = detached(endpoint.payload(), heartbeat_seconds=NEVER)
        sender, sent = run._sender, []

        def send(report, timeout):
            sent.append(report)
            if len(sent) == 1:
                raise KeyboardInterrupt
            return sender.send(report, timeout)

        run._sender = mock.Mock(send=send)
        with self.assertRaises(KeyboardInterrupt):
            with run:
                run.complete("done")
        self.assertTrue(run._ended.wait(60))
        self.assertEqual(endpoint.statuses(), ["completed"])
        run._beats.join(60)

    def test_an_end_that_is_interrupted_is_left_to_the_end_of_the_process(self):
        for error in (RuntimeError("can't start new thread"), MemoryError()):
            with self.subTest(error):
                endpoint = self.endpoint()
                run = detached(endpoint.payload(), heartbeat_seconds=None)
                sender, run._sender = run._sender, mock.Mock(send=mock.Mock(side_effect=KeyboardInterrupt))
                with mock.patch.object(_signals, "_going_on", {}):
                    with mock.patch.object(threading.Thread, "start", side_effect=error):
                        with self.assertRaises(KeyboardInterrupt):
                            with run:
                                run.complete("done")
                    run._sender = sender
                    _signals._report_all("the agent's process ended")
                self.assertEqual(endpoint.statuses(), ["completed"])


class Forks(Case):
    """A child has a copy of the run, and is not the process that the run goes on in."""

    def assert_completed_by_the_parent(self, body):
        endpoint = self.endpoint()
        self.run_agent(endpoint, body, ends_with=0)
        self.assertEqual(endpoint.statuses(), ["completed"])

    def test_a_child_that_ends_in_the_block(self):
        for end in ("sys.exit(3)", "raise ValueError('the child')", "run.complete('the child')", "raise Cancelled()"):
            with self.subTest(end):
                self.assert_completed_by_the_parent(f"""
                    import os, sys
                    from agent_trigger import Cancelled, detached
                    parent = os.getpid()
                    with detached(payload, heartbeat_seconds=60) as run:
                        child = os.fork()
                        if child == 0:
                            {end}
                        else:
                            os.waitpid(child, 0)
                            run.complete("the parent")
                """)

    def test_a_child_that_ends_while_a_thread_of_its_parent_works(self):
        self.assert_completed_by_the_parent("""
            import os, sys, threading
            from agent_trigger import detached
            begun, may_end = threading.Event(), threading.Event()
            def work():
                with detached(payload, heartbeat_seconds=60) as run:
                    begun.set()
                    may_end.wait()
                    run.complete("the parent")
            threading.Thread(target=work).start()
            begun.wait()
            child = os.fork()
            if child == 0:
                sys.exit(0)
            os.waitpid(child, 0)
            may_end.set()
        """)

    def test_a_child_that_is_terminated(self):
        self.assert_completed_by_the_parent("""
            import multiprocessing, signal, sys, time
            from agent_trigger import detached
            def work(ready):
                ready.set()
                time.sleep(60)
            with detached(payload, heartbeat_seconds=60) as run:
                context = multiprocessing.get_context("fork")
                ready = context.Event()
                child = context.Process(target=work, args=(ready,))
                child.start()
                ready.wait()
                child.terminate()
                child.join()
                if child.exitcode != -signal.SIGTERM:
                    sys.exit(9)
                run.complete("the parent")
        """)

    def test_a_run_of_a_child_is_its_own(self):
        endpoint = self.endpoint()
        self.run_agent(endpoint, """
            import os, sys
            from agent_trigger import detached
            with detached(payload, heartbeat_seconds=60) as run:
                child = os.fork()
                if child == 0:
                    payload["callback"]["executionId"] = "execution-2"
                    with detached(payload, heartbeat_seconds=60) as own:
                        own.complete("the child")
                    os._exit(0)
                os.waitpid(child, 0)
                run.complete("the parent")
        """, ends_with=0)
        ends = [(report["executionId"], report["output"]) for report in endpoint.reports()]
        self.assertEqual(ends, [("execution-2", "the child"), ("execution-1", "the parent")])


if __name__ == "__main__":
    unittest.main()
