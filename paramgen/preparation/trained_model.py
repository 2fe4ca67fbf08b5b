"""A trained model that a preparation learns from: a folder, read by its own library and run on the same inputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from paramgen.comparison.models import scores_of
from paramgen.comparison.tasks import ImageTask
from paramgen.errors import OptionError, one_line
from paramgen.output.verify import load_folder
from paramgen.preparation import Pupil
from paramgen.storage.digest import files_sha256
from paramgen.storage.reading import weight_files


@final
@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """The model of a folder; nothing is read before it is needed."""

    folder: str
    advice: str

    @cached_property
    def module(self) -> nn.Module:
        """The network, frozen, as its library loads it.

        Raises:
            ParamgenError: There is no such folder, or it cannot be loaded.
        """
        self._refuse_absent()
        return load_folder(Path(self.folder)).float().eval().requires_grad_(False)

    def loaded_into(self, module: nn.Module) -> nn.Module:
        """Return a network of the same architecture with the folder's tensors."""
        self._refuse_absent()
        return load_folder(Path(self.folder), module)

    def describe(self) -> Mapping[str, Any]:
        """Return where it is from and the sha256 of its weights."""
        self._refuse_absent()
        return {"trained_model": self.folder, "sha256": files_sha256(weight_files(Path(self.folder)))}

    def scores(self, pupil: Pupil, inputs: Tensor) -> Tensor:
        """Run it on the pupil's inputs, which are normalized as it wants them where both networks say how.

        Raises:
            OptionError: It does not run on them.
        """
        module = self.module.to(pupil.device)
        try:
            with torch.no_grad():
                return scores_of(module(_normalized_for(module, pupil, inputs)))
        except Exception as error:  # a forward pass may raise anything
            shape = "x".join(map(str, inputs.shape))
            raise OptionError(
                f"{self.folder!r} does not run on {shape}, which {pupil.model.name} takes: {type(error).__name__}: "
                f"{one_line(error)}. It must take the same input. {self.advice}"
            ) from error

    def _refuse_absent(self) -> None:
        if not self.folder or not Path(self.folder).is_dir():
            raise OptionError(f"There is no folder {self.folder!r}. {self.advice}")


def _normalized_for(module: nn.Module, pupil: Pupil, inputs: Tensor) -> Tensor:
    """Return images with another mean and standard deviation, where a model of timm names its own."""
    config: Any = getattr(module, "pretrained_cfg", None) or {}
    mean, std = config.get("mean"), config.get("std")
    if not isinstance(pupil.task, ImageTask) or mean is None or std is None or len(mean) != inputs.shape[1]:
        return inputs
    had, now = (
        [torch.tensor(each, device=inputs.device).view(-1, 1, 1) for each in pair]
        for pair in ((pupil.task.mean, pupil.task.std), (mean, std))
    )
    return (inputs * had[1] + had[0] - now[0]) / now[1]
