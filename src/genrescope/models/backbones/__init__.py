"""Pre-trained networks: their catalog (`registry`), and the networks of each source."""
