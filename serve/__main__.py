"""`python -m serve`: the application under uvicorn, with limits on what comes before a request and after the last."""

from functools import partial

import uvicorn

from serve.connections import Connection
from serve.settings import Settings


def main() -> None:
    """Serve until a signal comes, then finish what was begun."""
    settings = Settings()
    uvicorn.run(
        "serve.app:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        http=partial(Connection, seconds=settings.body_seconds / 2),  # type: ignore[arg-type]
        limit_concurrency=settings.connections,
        timeout_graceful_shutdown=round(settings.seconds),
        log_config=None,
        server_header=False,
    )


main()
