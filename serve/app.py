"""The application: `uvicorn --factory serve.app:create_app`, or `python -m serve` with the limits on connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from paramgen.errors import MissingPackageError, one_line
from serve.access import Access
from serve.description import router as description
from serve.gate import Gate
from serve.monitoring import Metrics, log_to_stderr
from serve.page import router as page
from serve.problems import Problem, problem_response
from serve.routes import router
from serve.service import Service
from serve.settings import Settings

DESCRIPTION = """Initial weights for any architecture, as the safetensors file or the folder that its library loads.
The same request gives the same bytes: they can be cached, read in ranges, and requested again."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the service; without `settings`, the environment decides."""
    settings = settings or Settings()
    log_to_stderr()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        attending = asyncio.ensure_future(app.state.service.attend())
        yield
        attending.cancel()
        app.state.service.close()

    app = FastAPI(
        title="paramgen",
        version=version("paramgen"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # it would run scripts from elsewhere
        redoc_url=None,
        telemetry=_telemetry(settings.telemetry),
    )
    service = Service(settings)
    metrics = Metrics(taken=lambda: service.queue.taken, spooled=lambda: service.spool.nbytes)
    app.state.service, app.state.metrics = service, metrics
    app.include_router(router)
    app.include_router(page)
    app.include_router(description)
    app.add_middleware(Gate, access=Access(settings), metrics=metrics, most=settings.connections)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    return app


def _telemetry(wanted: bool) -> TelemetryConfig:
    """Return the framework's tracing options: spans of requests go to OTEL_EXPORTER_OTLP_ENDPOINT."""
    if wanted:
        try:
            import_module("opentelemetry.sdk.trace")
            import_module("opentelemetry.exporter.otlp.proto.http")
        except ModuleNotFoundError as error:
            raise MissingPackageError(f"{error.name} is not installed. Type: pip install --group telemetry") from error
    # Its logs would hold exceptions' texts, and its other spans the names of functions.
    return {"tracing": wanted, "metrics": wanted, "auto_configure": wanted, "logs": False, "operation_spans": False}


async def _refused(request: Request, error: Exception) -> Response:
    """Answer what the framework refuses itself: an unknown path or method."""
    assert isinstance(error, HTTPException)
    problem = Problem(error.status_code, f"{error.detail}. What there is: /docs", error.headers)
    return problem_response(problem, request.state.request_id)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return problem_response(Problem(422, one_line(f"{where}: {first['msg']}")), request.state.request_id)
