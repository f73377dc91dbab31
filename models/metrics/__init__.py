"""Numbers about pictures: what stayed the same, and how different pictures are."""
