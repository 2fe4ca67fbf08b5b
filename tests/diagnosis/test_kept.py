"""What measures that train found outlives a killed command, and is read as anybody's file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.diagnosis import Measure
from paramgen.diagnosis.drift import Drift
from paramgen.diagnosis.interference import Interference

Plain = Callable[..., nn.Module]
WHAT = "interference,drift,alignment"


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    labels = torch.arange(16) % 2
    return torch.randn(16, 8, generator=torch.Generator().manual_seed(1)) + labels[:, None], labels


def measured(module: nn.Module, data: Any, page: Path, **options: Any) -> list[object]:
    found = paramgen.diagnose(module, init="he", data=data, what=WHAT, out=page, **options)
    return [each.figures for each in found.results]


def killed(module: nn.Module, data: Any, page: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """End a diagnosis as a signal does, in its last measure; return the file of what it measured before."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("paramgen.diagnosis.alignment.EarlyAlignment.observe", end)
        with pytest.raises(KeyboardInterrupt):
            measured(module, data, page)
    (kept,) = page.parent.glob(".*/drift-*.json")
    return kept


def test_the_same_command_goes_on_with_the_same_figures(
    plain: Plain, data: tuple[Tensor, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = plain(1, 8, outputs=2)
    whole = measured(module, data, tmp_path / "whole.html")
    killed(module, data, tmp_path / "page.html", monkeypatch)
    counted: dict[type[Measure], int] = {Drift: 0, Interference: 0}
    for kind in counted:
        observe = kind.observe

        def watched(self: Any, trial: Any, observe: Any = observe, kind: type[Measure] = kind) -> Any:
            counted[kind] += 1
            return observe(self, trial)

        monkeypatch.setattr(kind, "observe", watched)
    assert measured(module, data, tmp_path / "page.html") == whole
    assert counted == {Drift: 0, Interference: 1}
    assert sorted(each.name for each in tmp_path.iterdir()) == ["page.html", "whole.html"]


def test_other_weights_are_measured_anew_and_bad_files_are_refused(
    plain: Plain, data: tuple[Tensor, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, page = plain(1, 8, outputs=2), tmp_path / "page.html"
    kept = killed(module, data, page, monkeypatch)
    whole = kept.read_text(encoding="utf-8")
    for text in ("[]", "{}", whole.replace('"exponent"', '"wrong"'), whole.replace('"pooled": {', '"pooled": {"a": 1')):
        kept.write_text(text, encoding="utf-8")
        with pytest.raises(paramgen.ParamgenError, match="Delete it, and it is measured again"):
            measured(module, data, page)
    seen = measured(module, data, page, seed=1)  # whose file is another one
    assert seen and page.exists()
