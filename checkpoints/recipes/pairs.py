"""The classifier zoo: pairs of CIFAR-10's classes, told apart by small ConvNeXts; every pair from three seeds."""

from checkpoints.recipe import BaseTraining, ZooRecipe


def config() -> ZooRecipe:
    """Return the zoo: 33 pairs to train on, 3 to validate, 9 to test."""
    return ZooRecipe(
        kind="classification",
        train=33,
        validation=3,
        test=9,
        base=BaseTraining(episodes=12, steps=60, group=16, batch=16),
        rank=8,
        alpha=8.0,
        repeated=36,
        group=36,
        batch=16,
        snapshots=(50, 100, 200),
        lr=3e-3,
        adversarial=0.0,
        pictures=400,
        held_out=100,
    )
