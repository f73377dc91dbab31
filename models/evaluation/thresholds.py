"""What is measured, and the targets of the project."""

from collections.abc import Mapping
from types import MappingProxyType

JUDGE, TURN = "judge", "turn"
#: the behaviours, in the order in which they are measured, and the time of a turn
MEASURED = (
    JUDGE,
    "reconstruction",
    "text_to_picture",
    "describe",
    "questions",
    "refine",
    "two_references",
    "three_references",
    "rewriting",
    "own_words",
    "chat8",
    "own_wishes",
    "own_questions",
    "outside",
    "condition",
    "restore",
    "style",
    TURN,
)
SECONDS = "turn/seconds"
#: the numbers of an evaluation with their targets: shares of 0..1 at least, seconds at most
THRESHOLDS: Mapping[str, float] = MappingProxyType(
    {
        "judge/scene": 0.99,
        "reconstruction/scene": 0.99,
        "text_to_picture/scene": 0.93,
        "text_to_picture/attribute": 0.98,
        "describe/objects": 0.95,
        "questions/right": 0.95,
        "refine/changed": 0.94,
        "refine/unchanged": 0.96,
        "two_references/both": 0.92,
        "three_references/all": 0.85,
        "rewriting/named_kept": 0.97,
        "own_words/changed": 0.90,
        "own_words/unchanged": 0.95,
        "chat8/right": 0.85,
        "outside/said_so": 0.95,
        "condition/scene": 0.88,
        "restore/scene": 0.88,
        "style/followed": 0.92,
        "style/content": 0.88,
        SECONDS: 2.0,
    }
)
