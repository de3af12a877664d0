"""An agent that answers in lines of JSON. Start it with `uvicorn fastapi_agent:app --port 8080`."""
import json
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from work import Approval, run

app = FastAPI()

@app.post("/invocations")
async def invocations(request: dict):
    async def answer():
        try:
            async for text in run(request["prompt"]):
                yield {"text": text}
            yield {"stop_reason": "end_turn", "usage": {"input_tokens": 21, "output_tokens": 8}}
        except Approval:
            yield {"stop_reason": "interrupt"}
        except Exception as error:
            yield {"error": str(error)}
    return StreamingResponse((json.dumps(line) + "\n" async for line in answer()), media_type="application/x-ndjson")
