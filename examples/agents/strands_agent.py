"""A Strands agent in Bedrock AgentCore's own server. Start it with `python strands_agent.py`; it listens on port 8080."""
import os
from bedrock_agentcore import BedrockAgentCoreApp
from strands import Agent, tool
from fake_model import FakeModel

app = BedrockAgentCoreApp()

@tool(context=True)
def delete_files(tool_context) -> str:
    """Delete the files, once somebody has approved it."""
    tool_context.interrupt("approval", reason="may I delete the files?")
    return "deleted"

@app.entrypoint
async def invoke(payload):
    agent = Agent(model=FakeModel(), tools=[delete_files], callback_handler=None)
    async for event in agent.stream_async(payload["prompt"]):
        yield event

if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8080")))
