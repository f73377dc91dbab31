"""What a refinement may change: masks, cropping, registration and exact compositing."""
