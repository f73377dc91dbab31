"""Everything of the pack that touches ComfyUI's own modules beside the node schemas."""
