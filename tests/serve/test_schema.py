"""Requests made up from the service's own description: every answer is one that it describes."""

import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

OPERATIONS = (
    "POST /v1/predict, GET /v1/weights, HEAD /v1/weights, GET /v1/folder, POST /v1/graph, GET /v1/architectures, "
    "GET /v1/initializers, GET /v1/modifiers, GET /v1/hypernets, GET /health, GET /ready, GET /metrics"
).split(", ")


@pytest.mark.slow
def test_answers_are_as_described(serve: Any) -> None:
    running = serve(max_body=100_000)
    described = running.client.get("/openapi.json").text
    small = described.replace("vit_b16", "timm:test_vit").replace("num_labels", "num_classes")  # in the examples
    schema = schemathesis.openapi.from_dict(json.loads(small))
    results: Any = schema.get_all_operations()
    found = {operation.label: operation for operation in (each.ok() for each in results)}
    assert sorted(found) == sorted(OPERATIONS)
    for operation in found.values():
        _try(operation, running.url, examples=15 if operation.label.endswith(("predict", "weights")) else 5)


def _try(operation: Any, url: str, *, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(case=operation.as_strategy())
    def requested(case: Any) -> None:
        # A schema cannot say which names there are, so what is refused may look right.
        case.call_and_validate(url, timeout=60, excluded_checks=[positive_data_acceptance])

    requested()
