"""The storybook: a small drawn world in which everything visible can be said, and everything said can be checked."""

from functools import cache

from . import captions, edits, questions, references, wishes
from .captions import describe, full_caption, noun_phrase, parse_caption, words_of
from .catalogue import COLOURS, COLUMNS, GROUNDS, KINDS, PATTERNS, PICTURE_SIZE, ROWS, SIZES, SKIES, STYLES
from .conditions import condition
from .drawing import change_mask, cutout, mask_of, render, render_with_masks
from .edits import ACTIONS, Edit, apply, instruction, reference_to, sample_edit, sample_edits, statement, untouched
from .naming import Mention, Named, covers, place_name, satisfies
from .questions import DESCRIBE, TOPICS, WITHOUT_THINGS, Question, change_question, sample_question
from .references import Composition, sample_addition, sample_composition
from .videos import Video, edits_between, sample_video
from .wishes import LEVELS, Wish, at_home, partial_caption, sample_scene_for, sample_wish
from .world import Scene, Thing, sample_scene, sample_thing


@cache
def vocabulary() -> frozenset[str]:
    """Every word that a text of the storybook can hold, lower case."""
    tables = (module.PHRASES for module in (captions, wishes, edits, questions, references))
    return frozenset(captions.phrase_words(tuple(tables)))


__all__ = [
    "ACTIONS",
    "COLOURS",
    "COLUMNS",
    "DESCRIBE",
    "GROUNDS",
    "KINDS",
    "LEVELS",
    "PATTERNS",
    "PICTURE_SIZE",
    "ROWS",
    "SIZES",
    "SKIES",
    "STYLES",
    "TOPICS",
    "WITHOUT_THINGS",
    "Composition",
    "Edit",
    "Mention",
    "Named",
    "Question",
    "Scene",
    "Thing",
    "Video",
    "Wish",
    "apply",
    "at_home",
    "change_mask",
    "change_question",
    "condition",
    "covers",
    "cutout",
    "describe",
    "edits_between",
    "full_caption",
    "instruction",
    "mask_of",
    "noun_phrase",
    "parse_caption",
    "partial_caption",
    "place_name",
    "reference_to",
    "render",
    "render_with_masks",
    "sample_addition",
    "sample_composition",
    "sample_edit",
    "sample_edits",
    "sample_question",
    "sample_scene",
    "sample_scene_for",
    "sample_thing",
    "sample_video",
    "sample_wish",
    "satisfies",
    "statement",
    "untouched",
    "vocabulary",
    "words_of",
]
