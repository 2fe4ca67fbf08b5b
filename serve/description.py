"""The page at `/docs`: every route, from the service's OpenAPI description, without scripts or other servers."""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from html import escape
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

router = APIRouter()

_STYLE: Final = """
:root { color-scheme: light dark; }
body { max-width: 880px; margin: 0 auto; padding: 24px; font: 15px/1.5 system-ui, sans-serif; }
h2 { margin: 32px 0 4px; font: 600 16px ui-monospace, monospace; }
table { border-collapse: collapse; }
td, th { padding: 2px 16px 2px 0; text-align: left; vertical-align: top; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
pre { overflow: auto; max-height: 320px; padding: 10px; border: 1px solid #8886; border-radius: 8px; }
"""


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """Return the description of every route, for people; /openapi.json has it for programs."""
    text = "".join(_page(request.app.openapi()))
    digest = b64encode(sha256(_STYLE.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return HTMLResponse(text, headers={"Content-Security-Policy": policy, "Cache-Control": "no-cache"})


def _page(described: Mapping[str, Any]) -> Iterator[str]:
    info = described["info"]
    title = escape(f"{info['title']} {info['version']}")
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
    yield f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
    yield f"<h1>{title}</h1><p>{escape(info['description'])}</p>"
    yield '<p>For programs: <a href="/openapi.json">openapi.json</a>. With your browser: <a href="/">the page</a>.</p>'
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield from _operation(f"{method.upper()} {path}", operation)


def _operation(name: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2>{escape(name)}</h2><p>{escape(operation.get('description', ''))}</p>"
    if parameters := operation.get("parameters"):
        rows = ((each["name"], each["schema"], each.get("required", False)) for each in parameters)
        yield from _table(rows)
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = content["schema"]
        needed = schema.get("required", ())
        yield f"<p>A body of <code>{escape(kind)}</code>:</p>"
        yield from _table((key, value, key in needed) for key, value in schema.get("properties", {}).items())
        for title, example in content.get("examples", {}).items():
            text = escape(json.dumps(example["value"], indent=1))
            yield f"<details><summary>Example: {escape(title)}</summary><pre>{text}</pre></details>"
    answers = (f"{status} {answer['description']}" for status, answer in operation["responses"].items())
    yield f"<p>Answers: {escape('; '.join(answers))}</p>"


def _table(rows: Iterator[tuple[str, Mapping[str, Any], bool]]) -> Iterator[str]:
    yield "<table>"
    for name, schema, needed in rows:
        about = schema.get("description", "")
        kind = "required" if needed else f"default {json.dumps(schema.get('default'))}"
        cells = "".join(f"<td>{escape(str(cell))}</td>" for cell in (_type(schema), kind, about))
        yield f"<tr><th><code>{escape(name)}</code></th>{cells}</tr>"
    yield "</table>"


def _type(schema: Mapping[str, Any]) -> str:
    """Return a schema's type in a few words."""
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(_type(each) for each in schema["anyOf"] if each.get("type") != "null")
    return str(schema.get("type", "any"))
