"""How the hypernets we ship are trained and judged: an app of this repository, not part of the wheel."""
