"""WeGen in plain PyTorch: nothing below this folder imports ComfyUI."""
