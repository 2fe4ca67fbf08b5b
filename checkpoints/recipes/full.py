"""The zoo `photos` with full fine-tuning in place of low-rank updates."""

from dataclasses import replace

from checkpoints.recipe import ZooRecipe
from checkpoints.recipes import photos


def config() -> ZooRecipe:
    """Return the zoo: one checkpoint of each task, four times as large."""
    return replace(photos.config(), form="full", snapshots=(30,))
