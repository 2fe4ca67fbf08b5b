"""A zoo of minutes, on generated scenes: `make zoo-small`."""

from dataclasses import replace

from checkpoints.recipe import BaseTraining, ZooRecipe
from checkpoints.recipes import photos


def config() -> ZooRecipe:
    """Return the zoo; it shows the whole workflow, and is too small to generalize from."""
    return replace(
        photos.config(),
        train=64,
        validation=3,
        test=9,
        base=BaseTraining(episodes=4, steps=60, group=16, batch=4),
        repeated=3,
        group=17,
        snapshots=(20, 40),
    )
