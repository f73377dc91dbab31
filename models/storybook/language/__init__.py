"""People's own words for everything that can be wished, ordered and asked: frames by hand, a fifth of them held out."""

from .declining import ASKED, ORDERED, TASK_OF, UNKNOWN_ANSWER, WISHED, Declined, is_plain, sample_declined
from .frames import HELD_OUT, PARTS, TRAINED, is_held_out
from .guiding import sample_conditioned, sample_restored
from .orders import INTENTS, SEVERAL, Order, Story, sample_order
from .questioning import TOPICS, sample_changed, sample_describe, sample_question
from .typing import uttered
from .wishing import LEVELS, OwnWish, sample_wish

__all__ = [
    "ASKED",
    "HELD_OUT",
    "INTENTS",
    "LEVELS",
    "ORDERED",
    "PARTS",
    "SEVERAL",
    "TASK_OF",
    "TOPICS",
    "TRAINED",
    "UNKNOWN_ANSWER",
    "WISHED",
    "Declined",
    "Order",
    "OwnWish",
    "Story",
    "is_held_out",
    "is_plain",
    "sample_changed",
    "sample_conditioned",
    "sample_declined",
    "sample_describe",
    "sample_order",
    "sample_question",
    "sample_restored",
    "sample_wish",
    "uttered",
]
