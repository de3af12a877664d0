"""An agent that speaks AG-UI. Start it with `uvicorn ag_ui_agent:app --port 8080`."""

from uuid import uuid4

from ag_ui.core import (
    Interrupt,
    RunAgentInput,
    RunErrorEvent,
    RunFinishedEvent,
    RunFinishedInterruptOutcome,
    RunStartedEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    TokenUsage,
)
from ag_ui.encoder import EventEncoder
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from work import Approval, run

app = FastAPI()


async def events(request):
    """Yield the events of one run."""
    ids = {"thread_id": request.thread_id, "run_id": request.run_id}
    message_id = str(uuid4())
    yield RunStartedEvent(**ids)
    yield TextMessageStartEvent(message_id=message_id, role="assistant")
    try:
        async for text in run(request.messages[-1].content):
            yield TextMessageContentEvent(message_id=message_id, delta=text)
        yield TextMessageEndEvent(message_id=message_id)
        yield RunFinishedEvent(**ids, usage=[TokenUsage(input_tokens=21, output_tokens=8)])
    except Approval as question:
        yield TextMessageEndEvent(message_id=message_id)
        interrupt = Interrupt(id=str(uuid4()), reason="approval", message=str(question))
        yield RunFinishedEvent(**ids, outcome=RunFinishedInterruptOutcome(interrupts=[interrupt]))
    except Exception as error:
        yield RunErrorEvent(message=str(error))


@app.post("/")
@app.post("/invocations")
async def invocations(request: RunAgentInput):
    """Answer as AG-UI says. AgentCore calls the second path."""
    encoder = EventEncoder()
    frames = (encoder.encode(event) async for event in events(request))
    return StreamingResponse(frames, media_type=encoder.get_content_type())
