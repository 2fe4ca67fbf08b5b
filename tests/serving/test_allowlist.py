"""What somebody else may ask for by name: whatever a start could read a file by is refused, also what comes later."""

from dataclasses import fields
from typing import Any, cast

import pytest

from paramgen.errors import OptionError
from paramgen.hypernets.storage import shipped_hypernets
from paramgen.initializers import initializers
from paramgen.serving.allowlist import INITIALIZERS, checked_init


@pytest.mark.parametrize("start", INITIALIZERS)
def test_no_option_of_a_start_is_a_free_text(start: str) -> None:
    for field in fields(cast(Any, initializers.get(start))):
        if field.type is str:
            with pytest.raises(OptionError, match="is not served"):
                checked_init(f"{start}?{field.name}=/etc", shipped_hypernets())


def test_what_ships_is_served() -> None:
    for name in shipped_hypernets():
        assert checked_init(f"hypernet:{name}?softmax=fused", shipped_hypernets())
    with pytest.raises(OptionError, match="hypernet:vision"):
        checked_init("hypernet:somebody/else", shipped_hypernets())
