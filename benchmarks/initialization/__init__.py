"""How initializations train, side by side: the tables behind `auto`, the README and the cards."""
