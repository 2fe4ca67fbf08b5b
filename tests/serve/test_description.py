"""The page at /docs: all routes, and nothing from elsewhere."""

import base64
import re
from hashlib import sha256
from typing import Any


def test_it_describes_every_route_and_loads_nothing(serve: Any) -> None:
    running = serve()
    answer = running.client.get("/docs")
    described = running.client.get("/openapi.json").json()
    for path, methods in described["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}" in answer.text
    assert "num_labels" in answer.text  # the examples, too
    assert not re.search(r"<script|<link|<img|<iframe|\bsrc=|url\(|@import", answer.text)
    assert set(re.findall(r'href="([^"]*)"', answer.text)) == {"/openapi.json", "/"}
    (style,) = re.findall(r"<style>(.*)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(sha256(style.encode()).digest()).decode()
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and f"style-src 'sha256-{digest}'" in policy
    assert "script-src" not in policy
