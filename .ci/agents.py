"""Run the function against the sample agents, which are real servers on this machine, and check the records.

usage: agents.py PYTHON

PYTHON is the interpreter of an environment with the packages of examples/agents/requirements.txt. Each agent gets three
tasks: one that it completes, one in which it fails in mid-stream, and one for which it needs somebody's approval. The
detached agent works for two hours, which are compressed.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
EVENTS = ["events/minimal.json", "events/agent-fails.json", "events/agent-asks.json"]
ANSWER = "Three files came in since yesterday: orders.csv, returns.csv and stock.json."
FAILURE = "the bucket does not exist"

# Each agent: how it is started, how it is called, the protocol that its answer must be recognised as, how it stops short,
# and whether it reports tokens.
UVICORN = ["-m", "uvicorn", "--log-level", "warning", "--port"]
AGENTS = {
    "plain_agent": ([], "invocations", "generic", "interrupt", True),
    "fastapi_agent": (UVICORN, "invocations", "generic", "interrupt", True),
    "strands_agent": ([], "invocations", "strands", "interrupt", True),
    "ag_ui_agent": (UVICORN, "ag-ui", "ag-ui", "interrupt", True),
    "a2a_agent": (UVICORN, "a2a", "a2a", "input_required", False),
    "a2a_agent, 1.0": (UVICORN, "a2a-1.0", "a2a", "input_required", False),
}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(port, process):
    """Wait until the agent listens."""
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit(f"FAILED: the agent ended with {process.returncode} before it listened")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("FAILED: the agent does not listen after a minute")


def records_of(url, protocol):
    """Return the three records by the names of their triggers, and what the local run printed."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "records.json"
        command = ["cargo", "run", "--quiet", "--locked", "--example", "local", "--", "--agent-url", url]
        command += ["--protocol", protocol, "--auth", "none", "--records", str(file), *EVENTS]
        run = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if not file.exists():
            raise SystemExit(f"FAILED: the local run wrote no records\n{run.stdout}{run.stderr}")
        return {row["triggerId"]: row for row in json.loads(file.read_text())}, run.stdout


def problems(name, records, printed):
    _, _, protocol, finish_reason, has_usage = AGENTS[name]
    expected = {
        "trigger-minimal": {"status": "completed", "output": ANSWER},
        "trigger-fails": {"status": "failed", "errorType": "AgentFailed"},
        "trigger-cleanup": {"status": "failed", "errorType": "AgentIncomplete", "finishReason": finish_reason},
    }
    for trigger, attributes in expected.items():
        row = records.get(trigger, {})
        for attribute, value in {**attributes, "protocol": protocol}.items():
            if row.get(attribute) != value:
                yield f"{trigger}: {attribute} is {row.get(attribute)!r}, not {value!r}: {row.get('error')}"
    if FAILURE not in records.get("trigger-fails", {}).get("error", ""):
        yield "trigger-fails: the record does not have the agent's words"
    usage = records.get("trigger-minimal", {}).get("usage", {})
    if has_usage and (usage.get("inputTokens"), usage.get("outputTokens")) != (21, 8):
        yield f"trigger-minimal: its usage is {usage}"
    for text in ["› Three files", f"protocol    {protocol}: "]:
        if text not in printed:
            yield f"the local run does not show '{text}'"


def check(name, python):
    start, protocol, *_ = AGENTS[name]
    module, port = name.split(",")[0], free_port()
    arguments = [*start, str(port), f"{module}:app"] if start else [f"{module}.py"]
    environment = {**os.environ, "PORT": str(port), "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryFile("w+") as log:
        agent = subprocess.Popen([python, *arguments], cwd=ROOT / "examples/agents", env=environment,
                                 stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for(port, agent)
            records, printed = records_of(f"http://127.0.0.1:{port}", protocol)
        finally:
            agent.terminate()
            agent.wait()
        found = list(problems(name, records, printed))
        if found:
            log.seek(0)
            print(printed, log.read()[-5000:], sep="\n")
    for problem in found:
        print(f"FAILED: {name}: {problem}")
    if not found:
        print(f"{name}: completed, failed and stopped short, as recorded")
    return bool(found)


def check_detached(python):
    """Run two hours of the detached agent, compressed, against the function and the reports endpoint."""
    cargo = ["cargo", "--quiet"]
    subprocess.run([*cargo, "build", "--locked", "-p", "agent-trigger", "--bin", "agent-trigger"], cwd=ROOT, check=True)
    test = [*cargo, "test", "--locked", "-p", "agent-trigger-api", "--test", "it", "two_hours", "--", "--ignored", "--nocapture"]
    environment = {**os.environ, "SAMPLE_AGENTS_PYTHON": python}
    run = subprocess.run(test, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    found = [line for line in run.stderr.splitlines() if "heartbeats; the function was busy" in line]
    if run.returncode or not found:
        print(run.stdout, run.stderr, sep="\n")
        print("FAILED: detached_agent: two hours compressed")
        return True
    print(f"detached_agent: {found[0]}")
    return False


def check_long_runs(python):
    """Run the agent of docs/long-runs.md as the page says: it reports to the local run."""
    port = free_port()
    sample = (ROOT / "docs/long-runs.md").read_text().split("```python\n")[1].split("```")[0].replace("8080", str(port))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "agents/python"), "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "records.json"
        agent = subprocess.Popen([python, "-c", sample], env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(port, agent)
            command = ["cargo", "run", "--quiet", "--locked", "--example", "local", "--", "--agent-url", f"http://127.0.0.1:{port}"]
            command += ["--auth", "none", "--records", str(file), "events/agent-detached.json"]
            run = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        finally:
            agent.terminate()
            agent.wait()
        rows = json.loads(file.read_text()) if file.exists() else []
    ends = [(row["status"], row.get("output"), row.get("usage", {}).get("inputTokens")) for row in rows]
    if run.returncode or ends != [("completed", "All five folders are read.", 500)] or "waits for a report" not in run.stdout:
        print(run.stdout, run.stderr, sep="\n")
        print(f"FAILED: the agent of docs/long-runs.md: {ends}")
        return True
    print("docs/long-runs.md: its agent reports to the local run")
    return False


def main():
    python, *only = sys.argv[1:]
    names = [name for name in AGENTS if not only or name in only]
    results = [check(name, python) for name in names]
    if not only or "detached_agent" in only:
        results.append(check_detached(python))
    if not only or "long_runs" in only:
        results.append(check_long_runs(python))
    return any(results)


if __name__ == "__main__":
    sys.exit(main())
