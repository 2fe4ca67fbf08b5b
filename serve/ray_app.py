"""The service on Ray, with as many replicas as requests are waiting for: `serve run serve.ray_app:app`.

It needs `pip install 'ray[serve]'`. Every replica is the whole service, with the settings of its environment. The same
request gives the same bytes from each, so a caller who lost one requests again and resumes.

Ray's own proxy keeps the whole body of a request, of whatever size and from whomever, before a replica sees it, and has
no limit on connections. Where strangers can connect, put a proxy in front that limits both; and as each replica takes
itself for alone on its machine, say what it may take: `PARAMGEN_SERVE_MEMORY`.
"""

from typing import Final, final

import ray.serve
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.app import create_app

REPLICA: Final = "X-Replica"


@final
class _NamesReplica:
    """Adds the replica's name to every answer."""

    def __init__(self, app: ASGIApp, name: str) -> None:
        self._app, self._name = app, name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REPLICA] = self._name
            await send(message)

        await self._app(scope, receive, named)


def build() -> ASGIApp:
    """Return a replica's application; called in the replica."""
    return _NamesReplica(create_app(), ray.serve.get_replica_context().replica_tag)


deployment = ray.serve.deployment(
    name="paramgen",
    max_ongoing_requests=32,  # more of them wait where they can still go to another replica
    autoscaling_config={
        "min_replicas": 1,
        "max_replicas": 8,
        "target_ongoing_requests": 4,  # running or waiting, for each replica
        "upscale_delay_s": 5,
        "downscale_delay_s": 120,
    },
    ray_actor_options={"num_cpus": 1},
    graceful_shutdown_timeout_s=60,
)(ray.serve.ingress(build)())
app = deployment.bind()
