"""Examples in docstrings, which begin with `>>>`, become code blocks on the site's page for Python."""

import re
from typing import Any, Final, final

from griffe import Extension, Object

_EXAMPLE: Final = re.compile(r"(?:^>>> .*\n?(?:^(?!>>> )\S.*\n?)*)+", re.MULTILINE)


@final
class Examples(Extension):
    """Put a fence around every example; otherwise Markdown reads `>>>` as three quotations."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Change the docstring of an object that was read."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(docstring: str) -> str:
    """Return a docstring whose examples are fenced blocks of Python."""
    return _EXAMPLE.sub(lambda match: f"```python\n{match[0].rstrip()}\n```\n", docstring)
