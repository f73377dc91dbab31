"""Layers and numbers: the configuration of every size, and the modules that compute."""
