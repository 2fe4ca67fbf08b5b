"""In one call of `write`, everything that takes long happens once."""

import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import paramgen
from paramgen.hypernets import supernet
from paramgen.hypernets.matching import match_addresses
from paramgen.output import planning
from paramgen.storage import digest, folder
from paramgen.storage.plan import plan

TINY = "timm:test_vit?img_size=32&patch_size=8&num_classes=10"


@pytest.mark.parametrize("init", ["auto", "hypernet"])
def test_one_call_checks_plans_matches_and_hashes_once(
    init: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*given: Any, **options: Any) -> Any:
            calls[name] += 1
            return call(*given, **options)

        return counting

    monkeypatch.setattr(planning, "plan", counted("plan", plan))
    monkeypatch.setattr(supernet, "match_addresses", counted("matched", match_addresses))
    monkeypatch.setattr(folder, "checked_target", counted("checked_target", folder.checked_target))
    monkeypatch.setattr("paramgen.output.write.checked_target", folder.checked_target)
    monkeypatch.setattr(hashlib, "file_digest", counted("hash", hashlib.file_digest))
    digest._sha256.cache_clear()
    paramgen.write(TINY, tmp_path / "out", init=init, verify=False)
    beside = len({"config.json"})  # whose digest the record has
    assert calls == {"plan": 1, "matched": 1, "checked_target": 1, "hash": 1 + beside}
