"""Painting features: what a painter is, the published noise levels, and diffusers' painter."""
