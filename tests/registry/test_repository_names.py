"""What the Hub takes as the name of a repository, and what it does not."""

import pytest

from paramgen.registry.repository_names import is_repository


@pytest.mark.parametrize("name", ["me/vit-start", "org/ghn3_xl.v2", "0x/1"])
def test_an_owner_and_a_name(name: str) -> None:
    assert is_repository(name) and is_repository(name, with_owner=False)


def test_a_name_alone_where_no_owner_is_needed() -> None:
    assert is_repository("gpt2", with_owner=False) and not is_repository("gpt2")


@pytest.mark.parametrize(
    "name", ["", "a b/c", "a/b/c", "../x", "me/..", "me/a--b", "me/x.git", "-me/x", "me/x\n", "me/ü", "a" * 97, None, 3]
)
def test_anything_else_is_none(name: object) -> None:
    assert not is_repository(name, with_owner=False)
