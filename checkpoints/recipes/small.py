"""A zoo of minutes, on scenes that are drawn here: `make zoo-small`."""

from checkpoints.recipe import Recipe, Start


def config() -> Recipe:
    """Return the zoo; it shows the whole way, and is too small to generalize from."""
    return Recipe(
        train=64,
        validation=4,
        test=9,
        start=Start(episodes=4, steps=40, group=16, batch=4),
        repeated=4,
        group=17,
        batch=4,
        snapshots=(40, 80),
        pictures=192,
        judged=32,
    )
