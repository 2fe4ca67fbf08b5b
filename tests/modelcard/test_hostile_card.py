"""Cards of folders whose records and configurations are anybody's."""

from typing import Any

import pytest

from paramgen.errors import OutputError
from paramgen.modelcard.card import card_text
from paramgen.modelcard.loading import loading_lines

RECORD: dict[str, Any] = {
    **{"source": "transformers", "spec": "x", "init": "he", "initializer": {}, "graph": {}, "seed": 0, "tensors": {}},
    "requested": {"arch": "x"},
}


@pytest.mark.parametrize("architectures", [5, "Bert", {"0": "Bert"}, [], [5], [None], None, True])
def test_architectures_that_are_none(architectures: Any) -> None:
    config = {"architectures": architectures}
    assert loading_lines("transformers", config, "folder")[0] == "import paramgen"
    assert "paramgen" in card_text(RECORD, config, "folder")


@pytest.mark.parametrize("overrides", [5, "x", ["x"], True])
def test_overrides_that_are_none(overrides: Any) -> None:
    with pytest.raises(OutputError, match="has no 'requested'"):
        card_text({**RECORD, "requested": {"arch": "x", "overrides": overrides}}, {}, "folder")
