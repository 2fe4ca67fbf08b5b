"""The zoo of the pipeline we ship: 400 edits of photographs, each a low-rank update of one base checkpoint."""

from checkpoints.recipe import BaseTraining, ZooRecipe


def config() -> ZooRecipe:
    """Return the zoo; what it holds: cards/results/zoo_photos.json."""
    return ZooRecipe(
        train=400,
        validation=10,
        test=48,
        base=BaseTraining(episodes=5, steps=60, group=24, batch=4),
        rank=8,
        alpha=8.0,
        repeated=16,
        group=32,
        batch=4,
        snapshots=(10, 20, 30),
        lr=1e-2,
        pictures=256,
        held_out=16,
    )
