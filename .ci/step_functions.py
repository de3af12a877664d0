"""Run the state machines of Step Functions in an interpreter of the few states that they use, and lint them.

usage: step_functions.py

The sample in examples/step-functions starts a run and waits; the template's own machine answers it, as it would for each
end that an announcement may name. Expressions are evaluated as JSONata.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import jsonata
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "examples/step-functions/run-agent.asl.json"
TOKEN = "the-task-token"
IDS = {"triggerId": "t", "executionId": "e"}


class StatesError(Exception):
    """An error with a name, as a Catch sees it."""

    def __init__(self, error, cause=""):
        super().__init__(error)
        self.error, self.cause = error, cause


def evaluated(value, states, variables):
    """Return a value with its expressions evaluated, at any depth."""
    if isinstance(value, dict):
        return {name: evaluated(inner, states, variables) for name, inner in value.items()}
    if isinstance(value, list):
        return [evaluated(inner, states, variables) for inner in value]
    if not (isinstance(value, str) and value.startswith("{%") and value.endswith("%}")):
        return value
    expression = jsonata.Jsonata(value[2:-2].strip())
    frame = expression.create_frame()
    for name, bound in {"states": states, **variables}.items():
        frame.bind(name, bound)
    result = expression.evaluate(None, frame)
    if result is None and "null" not in value:
        # Step Functions refuses an expression that is undefined.
        raise StatesError("States.QueryEvaluationError", value)
    return result


def run(machine, given, services, context=None):
    """Run a machine to its end and return its output. A Fail state, or an error that nobody catches, is a StatesError."""
    assert machine["QueryLanguage"] == "JSONata"
    variables, name, steps = {}, machine["StartAt"], 0
    while True:
        steps += 1
        assert steps < 100, "it never ends"
        state = machine["States"][name]
        states = {"input": given, "context": context or {}}
        match state["Type"]:
            case "Succeed":
                return evaluated(state["Output"], states, variables) if "Output" in state else given
            case "Fail":
                raise StatesError(*(evaluated(state[part], states, variables) for part in ("Error", "Cause")))
            case "Choice":
                taken = (c["Next"] for c in state["Choices"] if evaluated(c["Condition"], states, variables) is True)
                name = next(taken, state["Default"])
                continue
            case "Task":
                pass
            case other:
                raise AssertionError(f"the interpreter does not know {other}")
        try:
            arguments = evaluated(state["Arguments"], states, variables)
            states["result"] = services[state["Resource"].split(":", 5)[-1]](arguments)
        except StatesError as error:
            catches = (c for c in state.get("Catch", []) if {error.error, "States.ALL"} & set(c["ErrorEquals"]))
            catch = next(catches, None)
            if catch is None:
                raise
            states["errorOutput"] = {"Error": error.error, "Cause": error.cause}
            given = evaluated(catch.get("Output", states["errorOutput"]), states, variables)
            name = catch["Next"]
            continue
        variables |= evaluated(state.get("Assign", {}), states, variables)
        given = evaluated(state["Output"], states, variables) if "Output" in state else states["result"]
        if state.get("End"):
            return given
        name = state["Next"]


def own_machine():
    """Return the machine of the template that answers tasks."""
    definition = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]["TaskStateMachine"]["Properties"]["Definition"]
    for state in definition["States"].values():
        if "Resource" in state:
            state["Resource"] = state["Resource"]["Fn::Sub"].replace("${AWS::Partition}", "aws")
    return definition


def answer(detail, item, refusal=None):
    """Let the template's machine answer an announcement. Return what the waiting task gets: its output, or an error."""
    got = []

    def send(arguments):
        if refusal:
            raise StatesError(refusal)
        assert arguments.pop("TaskToken") == TOKEN
        got.append(arguments)
        return {}

    def read(arguments):
        assert arguments["Key"] == {"PK": {"S": "TRIGGER#t"}, "SK": {"S": "TASK#e"}} and arguments["ConsistentRead"]
        return {"Item": item} if item else {}

    services = {"dynamodb:getItem": read, "aws-sdk:sfn:sendTaskSuccess": send, "aws-sdk:sfn:sendTaskFailure": send}
    run(own_machine(), {"detail": detail}, services)
    return got


def waited(got):
    """Return the service that sends the sample's command and waits, which ends as the answer says."""

    def put_events(arguments):
        (entry,) = arguments["Entries"]
        assert (entry["Source"], entry["DetailType"]) == ("agent-trigger", "Run Trigger"), entry
        assert entry["Detail"] == {"triggerId": "t", "userId": "u", "taskToken": TOKEN}, entry
        if "Output" in got:
            return json.loads(got["Output"])
        raise StatesError(got["Error"], got["Cause"])

    return {"events:putEvents.waitForTaskToken": put_events}


def announced(**changes):
    """Return the detail of an announcement: the sample's members, empty except for these."""
    sample = json.loads((ROOT / "events/execution-status-change.json").read_text())["detail"]
    empty = {name: {inner: "" for inner in value} if isinstance(value, dict) else "" for name, value in sample.items()}
    return {**empty, **IDS, "userId": "u", "hasTask": True, **changes}


def check():
    item = {"taskToken": {"S": TOKEN}}
    sample = json.loads(SAMPLE.read_text())
    given, context = {"triggerId": "t", "userId": "u"}, {"Task": {"Token": TOKEN}}
    usage = {"inputTokens": "21", "outputTokens": "8", "cacheReadInputTokens": "", "cacheWriteInputTokens": ""}
    (got,) = answer(announced(status="completed", output="three files", usage=usage, sessionId="s"), item)
    expected = {**IDS, "status": "completed", "output": "three files", "outputTruncated": False, "finishReason": None,
                "usage": {"inputTokens": 21, "outputTokens": 8}, "sessionId": "s"}
    assert json.loads(got["Output"]) == expected, got
    assert run(sample, given, waited(got), context) == {"executionId": "e", "answer": "three files"}
    # No usage, and no output.
    (got,) = answer(announced(status="completed"), item)
    assert (json.loads(got["Output"])["usage"], json.loads(got["Output"])["output"]) == ({}, ""), got
    run(sample, given, waited(got), context)

    for detail, error in [
        ({"status": "failed", "errorType": "ReportOverdue", "error": "no report came"}, "ReportOverdue"),
        ({"status": "failed", "errorType": "AgentFailed", "error": 'it said "no"\n'}, "AgentFailed"),
        ({"status": "cancelled"}, "cancelled"),
        ({"status": "skipped", "skipReason": "Overlap"}, "skipped"),
    ]:
        (got,) = answer(announced(**detail), item)
        cause = json.loads(got["Cause"])
        assert got["Error"] == error and cause["executionId"] == "e", got
        assert cause["error"] == detail.get("error", detail.get("skipReason", "")), got
        if detail["status"] == "failed":
            try:
                raise AssertionError(run(sample, given, waited(got), context))
            except StatesError as raised:
                assert (raised.error, json.loads(raised.cause)) == (error, cause)
        else:
            assert run(sample, given, waited(got), context) == {"status": "nothing done"}

    # No item: the ttl has passed. A task that is over: its machine was stopped.
    assert answer(announced(status="completed"), None) == []
    for refusal in ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"]:
        assert answer(announced(status="failed", errorType="Internal"), item, f"Sfn.{refusal}Exception") == []
        assert answer(announced(status="completed"), item, f"Sfn.{refusal}Exception") == []
    try:
        raise AssertionError(answer(announced(status="completed"), item, "Sfn.SfnException"))
    except StatesError:
        pass
    (state,) = [state for state in sample["States"].values() if state["Type"] == "Task"]
    assert state.get("TimeoutSeconds"), "the sample's task waits for a year"


def lint():
    """Lint the sample's definition, which cfn-lint reads only within a template."""
    properties = {"RoleArn": "arn:aws:iam::123456789012:role/r", "Definition": json.loads(SAMPLE.read_text()),
                  "DefinitionSubstitutions": {"OutboxBusName": "bus"}}
    machine = {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}
    with tempfile.TemporaryDirectory() as directory:
        wrapped = Path(directory) / "wrapped.json"
        wrapped.write_text(json.dumps({"Resources": {"RunAgent": machine}}))
        subprocess.run(["cfn-lint", str(wrapped), str(SAMPLE.parent / "template.yaml")], check=True)


def main():
    check()
    lint()
    print("the sample state machine waits for each end and gets it, and both machines are clean")


if __name__ == "__main__":
    sys.exit(main())
