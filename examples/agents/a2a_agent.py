"""An agent that speaks A2A, 1.0 and 0.3. Start it with `uvicorn a2a_agent:app --port 8080`."""

from a2a.helpers.proto_helpers import new_task_from_user_message
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes.agent_card_routes import create_agent_card_routes
from a2a.server.routes.jsonrpc_routes import create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Part
from starlette.applications import Starlette
from work import Approval, run

CARD = AgentCard(
    name="files",
    description="Says which files came in.",
    version="1.0.0",
    capabilities=AgentCapabilities(streaming=True),
    default_input_modes=["text"],
    default_output_modes=["text"],
    skills=[AgentSkill(id="list", name="List", description="Says which files came in.", tags=["files"])],
    supported_interfaces=[AgentInterface(url="http://127.0.0.1:8080/", protocol_binding="JSONRPC", protocol_version="1.0")],
)


class Files(AgentExecutor):
    """Streams the answer as an artifact, piece by piece."""

    async def execute(self, context, event_queue):
        """Run one task to its end."""
        task = context.current_task or new_task_from_user_message(context.message)
        await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        await updater.start_work()
        try:
            has_begun = False
            async for text in run(context.get_user_input()):
                await updater.add_artifact([Part(text=text)], artifact_id="answer", append=has_begun)
                has_begun = True
            await updater.complete()
        except Approval as question:
            await updater.requires_input(updater.new_agent_message([Part(text=str(question))]))
        except Exception as error:
            await updater.failed(updater.new_agent_message([Part(text=str(error))]))

    async def cancel(self, context, event_queue):
        """Stop a task, which A2A asks every agent for."""
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


handler = DefaultRequestHandler(agent_executor=Files(), task_store=InMemoryTaskStore(), agent_card=CARD)
routes = create_agent_card_routes(CARD)
# AgentCore calls the second path.
for path in ["/", "/invocations"]:
    routes += create_jsonrpc_routes(handler, path, enable_v0_3_compat=True)
app = Starlette(routes=routes)
