"""The folder of the bundled model."""

from pathlib import Path

BUNDLED = Path(__file__).parent / "nano"
