"""The handler of an Inference Endpoint as its toolkit loads it; `paramgen endpoint export` writes all of its folder."""

from paramgen.serving.handler import EndpointHandler as EndpointHandler
