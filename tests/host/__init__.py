"""Tests that run inside a real ComfyUI, and the harness that starts it, posts graphs to it and opens its front end."""
