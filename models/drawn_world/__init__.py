"""The drawn world: 64 kinds of things in scenes where all that is visible can be said, and all that is said checked."""

from ..media.conditions import CONDITIONS, DEGRADATIONS, degrade
from .catalogue import COLUMNS, GROUNDS, PICTURE_SIZE, ROWS, SIZES, SKIES, STYLES
from .compositions import Composition, Reference, sample_addition, sample_composition
from .conditions import condition
from .description import Description, Mention, describe, description_of, paraphrase, read_description, reference_to
from .drawing import change_mask, cutout, instance_map, render, render_with_masks, visible_shares
from .edit_sampling import sample_edit, sample_edits
from .edits import ACTIONS, Edit, apply, may_change, undo
from .films import Film, sample_video
from .kinds import KINDS, PATTERNS, THEMES, Kind
from .palette import COLOURS
from .sampling import acceptable, jittered, sample_scene, sample_thing
from .settling import nearest_free, settled
from .sheets import contact_sheet
from .spatial import RELATIONS, Relation, contacts, holds, is_clear, relations
from .values import MOST_THINGS, Scene, Thing, place_name, placed

__all__ = [
    "ACTIONS",
    "COLOURS",
    "COLUMNS",
    "CONDITIONS",
    "DEGRADATIONS",
    "GROUNDS",
    "KINDS",
    "MOST_THINGS",
    "PATTERNS",
    "PICTURE_SIZE",
    "RELATIONS",
    "ROWS",
    "SIZES",
    "SKIES",
    "STYLES",
    "THEMES",
    "Composition",
    "Description",
    "Edit",
    "Film",
    "Kind",
    "Mention",
    "Reference",
    "Relation",
    "Scene",
    "Thing",
    "acceptable",
    "apply",
    "change_mask",
    "condition",
    "contact_sheet",
    "contacts",
    "cutout",
    "degrade",
    "describe",
    "description_of",
    "holds",
    "instance_map",
    "is_clear",
    "jittered",
    "may_change",
    "nearest_free",
    "paraphrase",
    "place_name",
    "placed",
    "read_description",
    "reference_to",
    "relations",
    "render",
    "render_with_masks",
    "sample_addition",
    "sample_composition",
    "sample_edit",
    "sample_edits",
    "sample_scene",
    "sample_thing",
    "sample_video",
    "settled",
    "undo",
    "visible_shares",
]
