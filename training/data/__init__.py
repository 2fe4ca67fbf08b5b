"""What hypernets are trained and evaluated on."""
