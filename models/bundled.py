"""Where the trained model in the box stands."""

from pathlib import Path

BUNDLED = Path(__file__).parent / "nano"
