"""How good a model is, in numbers: an independent judge of storybook pictures, and the behaviours that it measures."""
