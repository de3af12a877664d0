"""A reports endpoint on a port of this machine. It answers as a test says and keeps what it was sent."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "secret-token"


def _no_json(constant):
    """Refuse what Python alone takes for JSON, such as NaN."""
    raise ValueError(constant)


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Say nothing of an agent that was stopped while it was answered."""


class Endpoint:
    """Answers each request with the next of `answers`, and every further one with 200."""

    def __init__(self, *answers):
        self.answers, self.requests, self.changed = list(answers), [], threading.Condition()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    report = json.loads(body, parse_constant=_no_json)
                except ValueError:
                    self.send_error(400)
                    return
                status, headers, answer = endpoint._take(dict(self.headers), report)
                if status is None:
                    # A connection that is torn without an answer.
                    self.connection.close()
                    return
                self.send_response(status)
                text = json.dumps(answer).encode()
                for name, value in {**headers, "Content-Length": str(len(text))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/reports"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def _take(self, headers, report):
        with self.changed:
            answer = self.answers.pop(0) if self.answers else (200, {}, {"cancel": False, "leaseUntil": 1})
            self.requests.append((headers, report))
            self.changed.notify_all()
        return answer

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def reports(self):
        with self.changed:
            return [report for _, report in self.requests]

    def statuses(self):
        return [report["status"] for report in self.reports()]

    def wait_for(self, count):
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.requests) >= count, timeout=30):
                raise AssertionError(f"{len(self.requests)} of {count} reports came")

    def payload(self, **members):
        callback = {"executionId": "execution-1", "triggerId": "trigger-1", "token": TOKEN, "url": self.url}
        return {"prompt": "work", "callback": {**callback, **members}}


def answer(status, body=None, **headers):
    return status, headers, body if body is not None else {}


NOTED = answer(200, {"cancel": False, "leaseUntil": 1})
CANCEL = answer(200, {"cancel": True, "leaseUntil": 1})
TORN = (None, {}, {})
