"""Two names that all test folders use."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]

# A skip reason that starts with this is repeated at the end of the run: something a full machine would have tested.
NOT_RUN = "NOT RUN: "
