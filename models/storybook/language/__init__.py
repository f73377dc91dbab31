"""People's own words for everything that can be wished, ordered and asked: frames by hand, a fifth of them held out."""

from .declining import ASKED, ORDERED, TASK_OF, UNKNOWN_ANSWER, WISHED, Declined, is_plain, sample_declined
from .frames.styling import ORDERS_LIKE, WISHES_LIKE
from .guiding import sample_conditioned, sample_restored
from .held_out import HELD_OUT, PARTS, TRAINED, is_held_out
from .orders import INTENTS, SEVERAL, Order, Story, in_relation, sample_order
from .questions import TOPICS, sample_changed, sample_describe, sample_question
from .styling import LIKE, in_style_of
from .wishes import LEVELS, OwnWish, sample_things, sample_wish

__all__ = [
    "ASKED",
    "HELD_OUT",
    "INTENTS",
    "LEVELS",
    "LIKE",
    "ORDERED",
    "ORDERS_LIKE",
    "PARTS",
    "SEVERAL",
    "TASK_OF",
    "TOPICS",
    "TRAINED",
    "UNKNOWN_ANSWER",
    "WISHED",
    "WISHES_LIKE",
    "Declined",
    "Order",
    "OwnWish",
    "Story",
    "in_relation",
    "in_style_of",
    "is_held_out",
    "is_plain",
    "sample_changed",
    "sample_conditioned",
    "sample_declined",
    "sample_describe",
    "sample_order",
    "sample_question",
    "sample_restored",
    "sample_things",
    "sample_wish",
]
