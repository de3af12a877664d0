"""An agent that works for hours in Bedrock AgentCore's own server: it acknowledges the call, and reports while it works.

Start it with `python detached_agent.py`; it listens on port 8080. It needs the package in agents/python.
"""

import asyncio
import os

from agent_trigger import detached, is_detached, report_on_sigterm
from bedrock_agentcore import BedrockAgentCoreApp
from work import ANSWER
from work import run as files

app = BedrockAgentCoreApp()
# A task that nothing refers to may be collected before it is done.
going_on = set()
# Two hours of real work, or less where time is compressed.
SECONDS = float(os.environ.get("WORK_SECONDS", "7200"))
HEARTBEAT_SECONDS = float(os.environ.get("HEARTBEAT_SECONDS", "300"))


@app.async_task  # AgentCore keeps the session while /ping says HealthyBusy, which this decorator sees to.
async def work(run, prompt):
    """Do the work. The run is cancelled by cancelling this coroutine."""
    async with run:
        answer = ""
        async for text in files(prompt):
            answer += text
            run.progress(answer, {"inputTokens": 21})
            await asyncio.sleep(SECONDS / len(ANSWER.split()))
        run.complete(answer, {"inputTokens": 21, "outputTokens": 8})


@app.entrypoint
async def invoke(payload):
    """Answer a plain request in full, and a detached one with an acknowledgement."""
    if not is_detached(payload):
        return {"text": "".join([text async for text in files(payload["prompt"])]), "stop_reason": "end_turn"}
    run = detached(payload, heartbeat_seconds=HEARTBEAT_SECONDS)
    task = asyncio.create_task(work(run, payload["prompt"]))
    going_on.add(task)
    task.add_done_callback(going_on.discard)
    return run.acknowledgement


if __name__ == "__main__":
    report_on_sigterm()
    app.run(port=int(os.environ.get("PORT", "8080")))
