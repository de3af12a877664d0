"""Check that the token check of the sample agents accepts the right token and refuses every other.

usage: PYTHON agent_token.py, with the PYTHON of an environment with the packages of examples/agents/requirements.txt
"""

import http.server
import json
import os
import sys
import threading
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import HTTPException

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent.parent / "examples/agents"))

KEY, OTHER_KEY = (rsa.generate_private_key(65537, 2048) for _ in range(2))
CLAIMS = {"iss": "https://issuer", "token_use": "access", "client_id": "client", "scope": "agent/invoke other/scope"}

# What is wrong with a token, and the status that the agent must answer with.
CASES = [
    ({}, 200),
    ({"aud": "anybody"}, 200),
    ({"iss": "https://other"}, 401),
    ({"exp": 1}, 401),
    ({"exp": None}, 401),
    ({"client_id": "other"}, 403),
    ({"client_id": None}, 403),
    ({"token_use": "id"}, 403),
    ({"scope": "other/scope"}, 403),
    ({"scope": None}, 403),
]


class Keys(http.server.BaseHTTPRequestHandler):
    """Serves the issuer's keys."""

    def do_GET(self):
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"keys": [{**key, "kid": "key", "use": "sig", "alg": "RS256"}]}).encode())

    def log_message(self, *_):
        """Say nothing."""


def main():
    keys = http.server.HTTPServer(("127.0.0.1", 0), Keys)
    threading.Thread(target=keys.serve_forever, daemon=True).start()
    os.environ.update(COGNITO_ISSUER="https://issuer", COGNITO_CLIENT_ID="client",
                      COGNITO_KEYS=f"http://127.0.0.1:{keys.server_port}/")
    from check_token import check_token

    def status(header):
        try:
            check_token(header)
            return 200
        except HTTPException as refusal:
            return refusal.status_code

    def token(changes, key=KEY, algorithm="RS256"):
        claims = {**CLAIMS, "exp": time.time() + 60, **changes}
        claims = {name: value for name, value in claims.items() if value is not None}
        return "Bearer " + jwt.encode(claims, key, algorithm, headers={"kid": "key"})

    found = [(changes, status(token(changes)), expected) for changes, expected in CASES]
    found += [("another key", status(token({}, OTHER_KEY)), 401), ("no token", status(""), 401),
              ("no token at all", status("Bearer x.y.z"), 401), ("HS256", status(token({}, "x" * 40, "HS256")), 401)]
    wrong = [f"{what}: {got}, not {expected}" for what, got, expected in found if got != expected]
    print("\n".join(wrong) or "the token check accepts the right token alone")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
