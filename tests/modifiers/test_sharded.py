"""Constraints of a module that FSDP shards: constrained first, they hold; sharded first, they are refused."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import paramgen
from paramgen.errors import OptionError

EXAMPLE = torch.zeros(2, 12)


@pytest.fixture(scope="module", autouse=True)
def one_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    meeting = tmp_path_factory.mktemp("gloo") / "meeting"
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def network() -> tuple[nn.Sequential, dict[str, object]]:
    module = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))
    return module, {"init": "he", "example_input": EXAMPLE, "progress": False}


def whole(tensor: Tensor) -> Tensor:
    return getattr(tensor, "full_tensor", lambda: tensor)().detach().clone()


def trained(module: nn.Module, steps: int = 20) -> None:
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2, weight_decay=0.5)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        rows, labels = torch.randn(8, 12, generator=generator), torch.randint(3, (8,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(rows), labels).backward()
        optimizer.step()


@pytest.mark.parametrize(
    "then", ["prune:magnitude?keep=0.2&scope=layer&rescale=none", "freeze?by=random&keep=0.2", "share?keep=0.1"]
)
def test_sharded_after_it_was_constrained_it_trains_as_without_shards(then: str) -> None:
    found = []
    for shard in (False, True):
        module, spec = network()
        prediction = paramgen.predict(module, then=[then], **spec)  # type: ignore[arg-type]
        module.load_state_dict(prediction.state_dict(progress=False))
        (paramgen.shared if then.startswith("share") else paramgen.masked)(module, prediction)
        if shard:
            fully_shard(module, mesh=init_device_mesh("cpu", (1,)))
        trained(module)
        found.append(whole(module(EXAMPLE + 1)))
    assert torch.equal(*found)


def test_what_is_sharded_already_is_refused_in_one_line() -> None:
    module, spec = network()
    prediction = paramgen.predict(module, then=["prune:magnitude?keep=0.2&scope=layer"], **spec)  # type: ignore[arg-type]
    module.load_state_dict(prediction.state_dict(progress=False))
    names = list(dict(module.named_parameters()))
    fully_shard(module, mesh=init_device_mesh("cpu", (1,)))
    with pytest.raises(
        OptionError, match="'0.weight' is sharded over several processes already. Constrain the module"
    ) as caught:
        paramgen.masked(module, prediction)
    assert "\n" not in str(caught.value) and list(dict(module.named_parameters())) == names
