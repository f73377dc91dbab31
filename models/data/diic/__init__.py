"""From videos to training samples: cut, choose frames, find and follow things, pair frames, say what changed."""
