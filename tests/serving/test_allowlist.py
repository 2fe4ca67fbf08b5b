"""What untrusted callers may request: any option by which an initializer could read a file is refused, new ones too."""

from dataclasses import fields
from typing import Any, cast

import pytest

from paramgen.errors import OptionError
from paramgen.hypernets.storage import shipped_hypernets
from paramgen.initializers import initializers
from paramgen.serving.allowlist import INITIALIZERS, checked_init


@pytest.mark.parametrize("name", INITIALIZERS)
def test_no_option_of_an_initializer_is_a_free_text(name: str) -> None:
    for field in fields(cast(Any, initializers.get(name))):
        if field.type is str:
            with pytest.raises(OptionError, match="is not served"):
                checked_init(f"{name}?{field.name}=/etc", shipped_hypernets())


def test_what_ships_is_served() -> None:
    for name in shipped_hypernets():
        assert checked_init(f"hypernet:{name}?softmax=fused", shipped_hypernets())
    with pytest.raises(OptionError, match="hypernet:vision"):
        checked_init("hypernet:somebody/else", shipped_hypernets())
