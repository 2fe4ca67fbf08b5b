"""Published hypernets: files of other people's code, read without running it, and turned into ours."""
