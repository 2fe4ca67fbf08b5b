"""Images from files: what may be opened, class folders and tars of them, and pixels decoded once."""
