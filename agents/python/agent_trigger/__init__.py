"""Detached runs of agent-trigger: a run that goes on after the agent has answered the call.

    run = detached(payload)
    threading.Thread(target=work, args=(run,)).start()
    return run.acknowledgement

    def work(run):
        with run:
            for step in steps():
                run.progress(step.text)
            run.complete(answer)

The block acknowledges nothing by itself: the acknowledgement is the answer to the call. Inside the block a thread sends
heartbeats. When the block is left, the end is reported: completed if `complete` was called, failed in every other case.
"""

from ._callback import Callback, NotDetached, is_detached
from ._run import Cancelled, Run, detached
from ._said import Usage
from ._sender import ReportNotDelivered
from ._signals import report_on_sigterm

__all__ = [
    "Callback",
    "Cancelled",
    "NotDetached",
    "ReportNotDelivered",
    "Run",
    "Usage",
    "detached",
    "is_detached",
    "report_on_sigterm",
]
