"""A server without keys is its owner's alone, also behind a proxy that says it is one."""

from hashlib import sha256

import pytest

from serve.access import Access
from serve.problems import Problem
from serve.settings import Settings

SCOPE = {"server": ("127.0.0.1", 8000)}
HOST = {"host": "localhost:8000"}


@pytest.mark.parametrize("header", ["forwarded", "via", "x-forwarded-for", "x-real-ip"])
def test_nobody_comes_through_a_proxy_without_a_key(header: str) -> None:
    access = Access(Settings())
    assert access.admit(SCOPE, HOST) == "local"
    with pytest.raises(Problem, match="comes through a proxy"):
        access.admit(SCOPE, {**HOST, header: "203.0.113.7"})


def test_with_keys_a_proxy_may_stand_in_front() -> None:
    known = sha256(b"a key").hexdigest()
    headers = {"authorization": "Bearer a key", "x-forwarded-for": "203.0.113.7"}
    assert Access(Settings(keys=(known,))).admit(SCOPE, headers) == known[:8]
