"""What hypernets are trained and judged on."""
