"""The zoo of photos with whole weights in place of low-rank updates, from the same kind of start."""

from dataclasses import replace

from checkpoints.recipe import Recipe
from checkpoints.recipes import photos


def config() -> Recipe:
    """Return the zoo: one checkpoint of each concept, four times as large."""
    return replace(photos.config(), form="full", snapshots=(30,))
