"""Which hypernets have been published. An application of the repository, not of the wheel."""
