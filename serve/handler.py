"""The handler of an Inference Endpoint as its toolkit loads it; `paramgen endpoint export` writes all of its folder."""

from paramgen.endpoint.handler import EndpointHandler as EndpointHandler
