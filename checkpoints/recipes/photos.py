"""The zoo of the pipeline we ship: 400 edits of photographs, each a low-rank update of one start."""

from checkpoints.recipe import Recipe, Start


def config() -> Recipe:
    """Return the zoo; cost and distances: cards/results."""
    return Recipe(
        train=440,
        validation=16,
        test=60,
        start=Start(episodes=10, steps=60, group=24, batch=4),
        repeated=32,
        group=24,
        batch=4,
        snapshots=(60, 90, 120),
    )
