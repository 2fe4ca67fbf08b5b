"""How the hypernets we ship are trained and evaluated: an app of this repository, not part of the wheel."""
