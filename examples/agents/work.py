"""The work that the sample agents do in place of a model's."""

import asyncio

ANSWER = "Three files came in since yesterday: orders.csv, returns.csv and stock.json."


class Approval(Exception):
    """A person has to agree before the agent may go on."""


async def run(prompt):
    """Yield the answer piece by piece. Two words in the prompt make the work end in other ways."""
    words = ANSWER.split(" ")
    for at, word in enumerate(words):
        if at == len(words) // 2 and "Please fail" in prompt:
            raise RuntimeError("the bucket does not exist")
        if at == len(words) // 2 and "Please ask" in prompt:
            raise Approval("may I delete the files?")
        await asyncio.sleep(0.05)
        yield word if at == 0 else f" {word}"
