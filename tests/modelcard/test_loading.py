"""The lines of Python that load a folder."""

import pytest

from paramgen.modelcard.loading import building_lines


@pytest.mark.parametrize(
    ("architecture", "imported"),
    [
        ("own.py:build", "from own import build"),
        ("package/inner/net.py:build", "from package.inner.net import build"),
        ("package/__init__.py:build", "from package import build"),
        ("package.net:build", "from package.net import build"),
        ("/a/own.py:build", "from own import build"),  # as folders said before
        ("../own.py:build", ""),
        ("own.py:build; import os", ""),
        ("package..net:build", ""),
        ("__init__.py:build", ""),
        ("torch.nn.Linear", ""),
    ],
)
def test_a_factory_is_imported_from_where_its_owner_has_it(architecture: str, imported: str) -> None:
    lines = building_lines({"architecture": architecture, "arguments": {"width": 3}})
    assert lines == ((imported, "build(width=3)") if imported else ("", ""))
