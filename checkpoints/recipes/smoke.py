"""A zoo of seconds: it shows that an installation works."""

from checkpoints.recipe import BaseTraining, ZooRecipe


def config() -> ZooRecipe:
    """Return the zoo; what it makes is of no use."""
    return ZooRecipe(
        train=4,
        validation=1,
        test=3,
        base=BaseTraining(episodes=2, steps=2, group=2, batch=2),
        repeated=2,
        group=3,
        batch=2,
        snapshots=(1, 2),
        pictures=6,
        held_out=2,
    )
