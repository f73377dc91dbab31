"""The one engine: a turn of a chat, from words and masks to finished pictures."""

from .interface import Parts, PictureDraft, Progress, TurnRequest, TurnResult
from .selecting import NothingFound, Selection, select
from .turns import draft_pictures, predict_masks, take_turn, take_turns

__all__ = [
    "NothingFound",
    "Parts",
    "PictureDraft",
    "Progress",
    "Selection",
    "TurnRequest",
    "TurnResult",
    "draft_pictures",
    "predict_masks",
    "select",
    "take_turn",
    "take_turns",
]
