"""What all tests share: an endpoint that ends with its test, and pauses that are over at once."""

import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
import unittest
from pathlib import Path
from unittest import mock

from endpoint import TOKEN, Endpoint

import agent_trigger
from agent_trigger import _run, _sender

#: Short enough for a test, and a heartbeat all the same.
BEAT = 0.05
NEVER = 3600


class Case(unittest.TestCase):
    def setUp(self):
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        before = signal.getsignal(signal.SIGTERM)
        self.addCleanup(signal.signal, signal.SIGTERM, before)
        # The pauses between two tries are not what is tested here.
        for name in ("FIRST_PAUSE", "LONGEST_PAUSE"):
            patched = mock.patch.object(_sender, name, 0.01)
            patched.start()
            self.addCleanup(patched.stop)
        # An end that nobody takes fails its test soon, and not after minutes.
        patched = mock.patch.object(_run, "END_LIMIT", 30.0)
        patched.start()
        self.addCleanup(patched.stop)

    def endpoint(self, *answers):
        endpoint = Endpoint(*answers)
        self.addCleanup(endpoint.close)
        return endpoint

    def work_until_stopped(self, run):
        """Work in steps until the run should stop. Then its block is left."""
        for _ in range(3_000):
            run.check()
            time.sleep(BEAT / 5)
        self.fail("the run was not stopped")

    def run_agent(self, endpoint, body, ready=None, ends_with=None):
        """Run an agent in a process of its own, send SIGTERM after so many reports, and return its exit code."""
        code = f"payload = {endpoint.payload()!r}\n" + textwrap.dedent(body)
        environment = {**os.environ, "PYTHONPATH": str(Path(agent_trigger.__file__).parent.parent)}
        process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        if ready is not None:
            endpoint.wait_for(ready)
            process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
        self.assertNotIn(TOKEN, log)
        if ends_with is not None:
            self.assertEqual(process.returncode, ends_with, log)
        return process.returncode
