"""Painters of 64 kinds of things, of grounds, skies and drawing styles: what the storybook and films are drawn with."""
