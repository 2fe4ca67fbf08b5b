"""The benchmark of inherited weights: its donor's network, and a row of it."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from benchmarks.initialization.cifar_resnet import resnet20
from benchmarks.initialization.inherited import DONOR_ARCH, INITS, about, row_of
from benchmarks.initialization.vision import DataSet
from benchmarks.initialization.vision_networks import networks
from paramgen.comparison import Pixels, Protocol
from tests.support.documents import percent, result_of

ROOT = Path(__file__).parents[3]
ARCH = str(ROOT / DONOR_ARCH.replace("resnet56", "resnet20"))


def images(count: int) -> Pixels:
    generator = torch.Generator().manual_seed(count)
    pixels = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return Pixels(pixels=pixels, labels=torch.arange(count) % 4)


def test_the_donors_network_has_its_published_size() -> None:
    network = resnet20()
    assert sum(parameter.numel() for parameter in network.parameters()) == 269_722
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.slow
def test_a_row_says_what_the_donor_gave_and_is_found_again(tmp_path: Path) -> None:
    donor = tmp_path / "donor.safetensors"
    save_file(resnet20().state_dict(), donor)
    assert "tmp" not in json.dumps(about(donor, DONOR_ARCH.replace("resnet56", "resnet20")))
    data = DataSet.of("noise", images(32), images(16))
    (network,) = (each for each in networks() if each.name == "timm-resnet-16")
    protocol = Protocol(steps=1, batch=4, seeds=1, lr=(1e-3,), evaluations=1, test_examples=16)
    row = row_of(data, network, protocol, donor=donor, arch=ARCH, out=tmp_path / "out")
    inherited = sum(count for rule, count in row["by_rule"].items() if rule.startswith("inherit:"))
    assert inherited > 0.95 * row["parameters"] and row["auto"] == "hypernet"
    assert list(row["initializations"]) == ["library", "orthogonal", "auto", "weight_selection", "inherit"]
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("*.json")}
    again = row_of(data, network, protocol, donor=donor, arch=ARCH, out=tmp_path / "out")
    assert again == row and {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("*.json")} == files


def test_the_page_quotes_what_was_measured() -> None:
    page = (ROOT / "docs" / "how-to" / "inherit.md").read_text(encoding="utf-8")
    result = result_of("vision_inherited")
    steps = []
    for row in result["rows"]:
        ends = {init: entry["final"] for init, entry in row["initializations"].items()}
        best = max(ends, key=lambda init: ends[init]["mean"])
        cells = {init: f"{percent(end['mean'])} ± {percent(end['std'])}" for init, end in ends.items()}
        cells[best] = f"**{cells[best]}**"
        named = {"hand_digits": "hands", "omniglot": "Omniglot"}[row["data"]]
        assert f"| {named}, `{row['network']}` | {' | '.join(cells[init] for init in INITS)} |" in page
        assert row["auto"] == "hypernet" and not row["refused"]
        if row["data"] == "omniglot":
            steps.append(row["initializations"]["inherit"]["steps_to_library"])
    first, second = sorted(steps)
    assert f"after {first} and {second} of the {result['protocol']['steps']} steps" in page
