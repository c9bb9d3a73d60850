"""Pre-trained networks: their weights, what they take, and loading them."""
