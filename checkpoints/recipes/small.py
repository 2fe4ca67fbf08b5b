"""A zoo of minutes, on scenes that are drawn here: `make zoo-small`."""

from checkpoints.recipe import BaseTraining, Recipe


def config() -> Recipe:
    """Return the zoo; it shows the whole way, and is too small to generalize from."""
    return Recipe(
        train=64,
        validation=3,
        test=9,
        base=BaseTraining(episodes=4, steps=60, group=16, batch=4),
        rank=8,
        alpha=8.0,
        repeated=3,
        group=17,
        batch=4,
        snapshots=(20, 40),
        lr=1e-2,
        pictures=256,
        held_out=16,
    )
