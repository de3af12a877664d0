"""An agent with nothing but Python's standard library. Start it with `python3 plain_agent.py`; it listens on port 8080."""

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def run(prompt):
    """Yield the answer piece by piece. Put your own work here. Two words in the prompt make it end in other ways."""
    words = "Three files came in since yesterday: orders.csv, returns.csv and stock.json.".split(" ")
    for at, word in enumerate(words):
        if at == 5 and "Please fail" in prompt:
            raise RuntimeError("the bucket does not exist")
        if at == 5 and "Please ask" in prompt:
            # A person has to agree before the agent may go on.
            yield {"stop_reason": "interrupt"}
            return
        time.sleep(0.05)
        yield {"text": word if at == 0 else f" {word}"}
    yield {"stop_reason": "end_turn", "usage": {"input_tokens": 21, "output_tokens": 8}}


class Agent(BaseHTTPRequestHandler):
    # With HTTP/1.0 the answer would end where the connection does, and one that broke would look whole.
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        """Answer a request with one line of JSON for each piece."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for line in run(request["prompt"]):
                self.send(line)
        except Exception as error:
            self.send({"error": str(error)})
        self.wfile.write(b"0\r\n\r\n")

    def send(self, line):
        data = json.dumps(line).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    print(f"The agent listens on http://127.0.0.1:{port}")
    ThreadingHTTPServer(("127.0.0.1", port), Agent).serve_forever()
