"""The routes: each reads a request and asks the service."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from paramgen.hypernets.storage import shipped_hypernets
from paramgen.output.names import names_of
from paramgen.serving.allowlist import INITIALIZERS, MODIFIERS, SOURCES
from serve.problems import RETRY, Problem
from serve.reading import json_of, request_of_query
from serve.schemas import EXAMPLES, NetworkRequest, PredictRequest, checked_form, validated
from serve.service import SMALL, Found, Service
from serve.stream import while_connected

_FILE: Mapping[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_PROBLEM: Mapping[str, Any] = {"content": {"application/problem+json": {}}}
REFUSALS: dict[int | str, dict[str, Any]] = {
    status.value: {"description": status.phrase, **_PROBLEM}
    for status in (
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.SERVICE_UNAVAILABLE,
    )
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file.",
        "content": {"application/octet-stream": _FILE, "application/zip": _FILE, "application/json": {}},
    },
    206: {"description": "A part of the file.", "content": {"application/octet-stream": _FILE}},
    304: {"description": "The caller has it already."},
}

router = APIRouter(responses=REFUSALS)


def _body(kind: type[PredictRequest] | type[NetworkRequest], examples: Mapping[str, Any]) -> dict[str, Any]:
    content = {"schema": kind.model_json_schema(), "examples": dict(examples)}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


@router.post("/v1/predict", responses=ANSWERS, response_class=Response, openapi_extra=_body(PredictRequest, EXAMPLES))
async def predict(request: Request) -> Response:
    """Predict a network's initial weights; the file is sent as it is made, and answers Range and If-None-Match."""
    service = service_of(request)
    found = await order_of_body(request)
    if found.push is not None:
        return await service.push(request, found.order, found.push)
    return await answered(service, request, found)


async def answered(service: Service, request: Request, found: Found) -> Response:
    """Answer an order in the form that was requested."""
    answers = {"folder": service.folder, "recipe": service.recipe, "weights": service.weights}
    return await answers[found.form](request, found.order)


async def named_order(
    request: Request,
    *,
    arch: str | None = None,
    init: str = "auto",
    prompt: str | None = None,
    seed: int = 0,
    dtype: Literal["float32", "bfloat16", "float16"] | None = None,
    form: Annotated[Literal["weights", "folder", "recipe"], Query(alias="as")] = "weights",
) -> Found:
    """Return the order of a query and its form; its parameters are in the signature for the schema."""
    parsed = request_of_query(request.query_params.multi_items())
    return await service_of(request).order(request, parsed)


NamedOrder = Annotated[Found, Depends(named_order)]


@router.get("/v1/weights", responses=ANSWERS, response_class=Response)
@router.head("/v1/weights", responses=ANSWERS, response_class=Response)
async def weights(request: Request, found: NamedOrder) -> Response:
    """Return a named network's weights file; `set=key=value` may be repeated. Caches and range requests work.

    With `as=recipe`, return what the weights are drawn from and their digest instead, a few kilobytes of JSON.
    """
    return await answered(service_of(request), request, found)


@router.post(
    "/v1/graph",
    response_class=JSONResponse,
    openapi_extra=_body(NetworkRequest, {"a name": {"value": {"arch": "torchvision:resnet18"}}}),
)
async def graph(request: Request) -> Response:
    """Return a named network's graph: enough to predict from, and what the command `paramgen graph` writes."""
    service, settings = service_of(request), service_of(request).settings
    async with _body_of(request) as body:
        parsing = service.work(
            lambda: validated(NetworkRequest, json_of(body, settings.max_depth, settings.max_values))
        )
        network: NetworkRequest = await while_connected(request.receive, parsing)
    text = await service.graph(request, network.arch, network.overrides)
    return Response(text, media_type="application/json")


@router.get("/v1/architectures")
async def architectures(request: Request, source: Literal[SOURCES] | None = None) -> dict[str, str]:  # type: ignore[valid-type]
    """Return the aliases and what each stands for, or every name of one library."""
    return await service_of(request).work(lambda: names_of("architectures", source))


@router.get("/v1/initializers")
async def initializers(request: Request) -> dict[str, str]:
    """Return the initializers that are served, with a line about each."""
    every = await service_of(request).work(lambda: names_of("initializers", None))
    return {name: every[name] for name in INITIALIZERS}


@router.get("/v1/modifiers")
async def modifiers(request: Request) -> dict[str, str]:
    """Return the modifiers that may follow an initializer, with a line about each."""
    every = await service_of(request).work(lambda: names_of("modifiers", None))
    return {name: every[name] for name in MODIFIERS}


@router.get("/v1/hypernets")
async def hypernets(request: Request) -> list[str]:
    """Return the names that may follow `hypernet:`."""
    return sorted({*shipped_hypernets(), *service_of(request).settings.hypernets})


@router.get("/health")
async def health() -> dict[str, str]:
    """Return that the process answers."""
    return {"status": "ok"}


@router.get("/ready")
async def ready(request: Request) -> dict[str, str]:
    """Return whether a prediction would find a free place in the queue, memory and a file."""
    if hindrance := service_of(request).hindrance():
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, hindrance, RETRY)
    return {"status": "ready"}


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Return counters for Prometheus."""
    return Response(request.app.state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def order_of_body(request: Request) -> Found:
    """Read a body within the limits and return its order; whatever takes long happens in a thread."""
    service, settings = service_of(request), service_of(request).settings
    async with _body_of(request) as body:
        if len(body) >= SMALL:
            return await service.order(request, body)
        parsed = checked_form(validated(PredictRequest, json_of(body, settings.max_depth, settings.max_values)))
        return await service.order(request, parsed)


def _body_of(request: Request) -> AbstractAsyncContextManager[bytes]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body is to be application/json.")
    return service_of(request).bodies.read(request)


def service_of(request: Request) -> Service:
    """Return the application's service."""
    service: Service = request.app.state.service
    return service
