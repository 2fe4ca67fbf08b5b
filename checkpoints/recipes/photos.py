"""The zoo of the pipeline we ship: 400 edits of photographs, each a low-rank update of one start."""

from checkpoints.recipe import Recipe, Start


def config() -> Recipe:
    """Return the zoo; what it holds: cards/results/zoo_photos.json."""
    return Recipe(
        train=400,
        validation=10,
        test=48,
        start=Start(episodes=5, steps=60, group=24, batch=4),
        rank=8,
        alpha=8.0,
        repeated=16,
        group=32,
        batch=4,
        snapshots=(10, 20, 30),
        rate=1e-2,
        pictures=256,
        judged=16,
    )
