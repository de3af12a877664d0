"""A model for Strands that needs no account: it answers as work.py says."""

from strands.models import Model
from work import Approval, run


class FakeModel(Model):
    """Answers the last message. Where approval is needed, it asks for the tool `delete_files`."""

    def update_config(self, **model_config):
        """Do nothing, because there is nothing to configure."""

    def get_config(self):
        """Return the configuration."""
        return {"model_id": "fake"}

    async def structured_output(self, output_model, prompt, system_prompt=None, **kwargs):
        """Refuse, because the sample does not need it."""
        raise NotImplementedError

    async def stream(self, messages, tool_specs=None, system_prompt=None, **kwargs):
        """Yield the events of Bedrock's ConverseStream."""
        prompt = "".join(block.get("text", "") for block in messages[-1]["content"])
        stop_reason = "end_turn"
        yield {"messageStart": {"role": "assistant"}}
        yield {"contentBlockStart": {"start": {}}}
        try:
            async for text in run(prompt):
                yield {"contentBlockDelta": {"delta": {"text": text}}}
            yield {"contentBlockStop": {}}
        except Approval:
            yield {"contentBlockStop": {}}
            yield {"contentBlockStart": {"start": {"toolUse": {"toolUseId": "tool-1", "name": "delete_files"}}}}
            yield {"contentBlockDelta": {"delta": {"toolUse": {"input": "{}"}}}}
            yield {"contentBlockStop": {}}
            stop_reason = "tool_use"
        yield {"messageStop": {"stopReason": stop_reason}}
        usage = {"inputTokens": 21, "outputTokens": 8, "totalTokens": 29}
        yield {"metadata": {"usage": usage, "metrics": {"latencyMs": 1}}}
