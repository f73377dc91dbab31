"""From drafts to finished pictures: painted, put back into the picture before, and compared with what was meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..editing.crop import plan_crop, put_back, take, take_mask
from ..editing.registration import estimate, undo
from ..encoding import is_unseen
from ..errors import WeGenError
from ..media.images import check_picture
from ..painting.painter import Painter, PaintJob
from ..prompting.asking import ask
from ..values import Answer, Reference, References, SamplerSettings
from .drafting import draft_request, draw_features, positions
from .interface import Parts, Progress
from .planning import PlannedPicture, reading, seen_features

OVERRULED = (
    "The masks leave no room for {order!r}: what it changes lies where the picture has to stay as it is, so nothing "
    "was changed."
)
PARTLY = "The masks kept a part of {order!r} from happening."
FEATHERED_SHARE = 1 / 128
"""Width of the soft edge inside the user's masks and around what is kept, as a share of the picture's shorter side."""


def look_closer(items: Sequence[PlannedPicture], parts: Parts, progress: Progress) -> None:
    """Draw features again for what changes, where the predicted edit mask is a small part of a large picture.

    The items get their new view, features and draft.

    Raises:
        WeGenError: as `drafting.write_drafts` and `planning.seen_features`.
    """
    config = parts.config
    closer = []
    for item in items:
        if not item.is_edit or item.change is None or not item.paints:
            continue
        crop = plan_crop(item.change, *item.turn.size, config.size**2, config.vae.downscale)
        if crop.height * crop.width < 0.5 * item.view.height * item.view.width:
            closer.append((item, crop))
    if not closer:
        return
    shown = seen_features([(item.turn.original, crop) for item, crop in closer], parts)
    requests = []
    for (item, _), seen in zip(closer, shown, strict=True):
        chat = reading(item.turn.chat, seen)
        request = draft_request(item.turn, config)
        requests.append(request._replace(chat=chat, seeds=(item.draft.seed,), overrides=(item.draft.rewrite,)))
    guided = any(request.feature_guidance != 1 for request in requests)
    rows = 2 * len(requests) if guided else len(requests)
    wegen = parts.load_language(rows, max(positions(request, config, parts.tokenizer) for request in requests))
    features = draw_features(wegen, requests, [request.overrides for request in requests], progress.on_feature)
    for n, ((item, crop), seen) in enumerate(zip(closer, shown, strict=True)):
        item.view, item.before_features = crop, seen
        item.meant = features[n, item.draft.rewrite]
        item.draft = replace(item.draft, features=item.meant)
        item.keep_cells()


def paint(items: Sequence[PlannedPicture], painter: Painter) -> None:
    """Paint what may change, pictures of one size and with the same settings at once.

    The items get what was painted, `[h, w, 3]` in 0..1 of their view.

    Raises:
        WeGenError: the painter gave what is no picture, has pixels that are NaN or is of another size, not one picture
            for each seed, or what it raises itself.
    """
    groups: dict[tuple[tuple[int, int], SamplerSettings, bool, bool], list[PlannedPicture]] = {}
    for item in items:
        if item.paints:
            key = (item.view.padded, item.settings, item.is_edit, item.change is None)
            groups.setdefault(key, []).append(item)
    for ((height, width), settings, is_edit, _), some in groups.items():
        before: Tensor | None = None
        change: Tensor | None = None
        if is_edit:
            # Pictures of one turn begin with the same picture, which is then encoded only once.
            places = {id(item.turn): item for item in some} if len({item.view for item in some}) == 1 else {}
            shown = list(places.values()) if len(places) == 1 else some
            before = torch.stack([take(colours(item.turn.before.picture), item.view) for item in shown])
            masks = [take_mask(item.change, item.view) for item in some if item.change is not None]
            change = torch.stack(masks) if masks else None
        features = torch.stack([item.draft.features for item in some])
        seeds = [item.draft.seed for item in some]
        painted = painter.paint(PaintJob(features, seeds, settings, width, height, before, change))
        if len(painted) != len(some):
            raise WeGenError(
                f"The painter gave {len(painted)} pictures, and {len(some)} were asked for: one for each seed."
            )
        for item, picture in zip(some, painted, strict=True):
            check_picture(picture)
            if tuple(picture.shape[:2]) != (height, width):
                raise WeGenError(
                    f"The painter gave a picture of {picture.shape[1]}x{picture.shape[0]} pixels in place of "
                    f"{width}x{height}. Connect the MODEL and VAE of this checkpoint, or repair the painter."
                )
            item.painted = picture


def finish(items: Sequence[PlannedPicture], parts: Parts, progress: Progress) -> list[Answer]:
    """Make answers of what was painted: kept pixels are those from before, and features and words fit the result.

    Raises:
        WeGenError: the vision encoder or the language model overflowed.
    """
    pictures = [_composite(item) for item in items]
    # What was painted is only part of such a picture; the next turn has to see all of it.
    pasted = {n: pictures[n] for n, item in enumerate(items) if item.paints and item.is_edit and _pasted(item)}
    whole = _encode(pasted, parts)
    limited = {n for n in pasted if items[n].turn.allowed is not None}
    # Where a crop was painted, what the model meant is compared with the features of that crop.
    cropped = {n: pasted[n][items[n].view.box] for n in limited if items[n].view.box != _whole(items[n])}
    close = {**whole, **_encode(cropped, parts)}
    answers = []
    unchanged: dict[int, tuple[Tensor, str]] = {}
    for n, item in enumerate(items):
        order, shows = item.turn.request.instruction, None
        if not item.paints:
            if not item.nothing_meant:
                item.notes.append(OVERRULED.format(order=order))
            answers.append(_unchanged(item, unchanged, parts, progress))
            continue
        if n in limited:
            came = item.outcome(close[n], parts.config)
            if came == "overruled":
                item.notes.append(OVERRULED.format(order=order))
                answers.append(_unchanged(item, unchanged, parts, progress))
                continue
            if came == "partly":
                item.notes.append(PARTLY.format(order=order))
                shows = _description(whole[n], pictures[n], parts, progress) or item.turn.before.described
        features = whole.get(n, item.draft.features)
        answers.append(_answer(item, features, pictures[n], shows, parts))
    return answers


def _whole(item: PlannedPicture) -> tuple[slice, slice]:
    height, width = item.turn.size
    return slice(0, height), slice(0, width)


def _pasted(item: PlannedPicture) -> bool:
    """Whether the finished picture is not what was painted, pixel by pixel."""
    return item.change is not None or item.view.size != item.turn.size or item.settings.strength < 1


def _composite(item: PlannedPicture) -> Tensor:
    """The finished picture `[H, W, 3]`; the one before where nothing was painted."""
    if item.painted is None:
        return item.turn.before.picture
    if not item.is_edit:
        return item.painted
    before, painted, settings = colours(item.turn.before.picture), item.painted, item.settings
    if settings.align and item.change is not None:
        motion = estimate(take(before, item.view), painted, take_mask(item.change, item.view))
        painted = undo(painted, motion)
        if motion.moved:
            item.notes.append(motion.reason)
    feather = 0.0 if item.turn.allowed is None and item.kept is None else round(min(item.turn.size) * FEATHERED_SHARE)
    return put_back(before, painted, item.view, item.change, feather, settings.match_tone)


def colours(picture: Tensor) -> Tensor:
    """A picture `[H, W, 3 or 4]` without its opacity, `[H, W, 3]`.

    One that has none is given back itself, so that what is remembered of it (see `media.images`) is found again.
    """
    return picture if picture.shape[-1] == 3 else picture[..., :3]


def _unchanged(item: PlannedPicture, known: dict[int, tuple[Tensor, str]], parts: Parts, progress: Progress) -> Answer:
    """The picture before, to the bit, with the words that belong to it; one that the user brought is described now.

    Args:
        known: features and words by turn: several pictures of one turn may stay as the same one was.
    """
    before = item.turn.before
    item.change = torch.zeros(*item.turn.size)
    if id(item.turn) not in known:
        features = before.features
        if features is None or is_unseen(before, parts.vision_id):  # `before_features` may be those of a crop
            whole = (item.view.height, item.view.width) == item.turn.size
            features = item.before_features if whole else _encode({0: before.picture}, parts)[0]
        known[id(item.turn)] = features, before.described or _description(features, before.picture, parts, progress)
    return _answer(item, known[id(item.turn)][0], before.picture, known[id(item.turn)][1], parts)


def _answer(item: PlannedPicture, features: Tensor, picture: Tensor, shows: str | None, parts: Parts) -> Answer:
    draft = item.draft
    return Answer(draft.rewrite, features, picture, draft.seed, item.change, shows, seen_by=parts.vision_id)


def _encode(pictures: Mapping[int, Tensor], parts: Parts) -> dict[int, Tensor]:
    """Features `[tokens_per_picture, D]` of pictures by their numbers."""
    if not pictures:
        return {}
    found = parts.load_vision(len(pictures)).encode_pictures(list(pictures.values()))
    return dict(zip(pictures, found.float().cpu(), strict=True))


def _description(features: Tensor, picture: Tensor, parts: Parts, progress: Progress) -> str:
    """What the model sees in a finished picture."""
    config = parts.config
    limit = config.templates.rewrite_limit
    room = 2 * config.tokens_per_picture + len(parts.tokenizer.encode(config.templates.describe)) + limit
    wegen = parts.load_language(1, min(room, config.language.context_length))
    shown = References((Reference("picture", features, picture),))
    return ask(wegen, config.templates.describe, shown, limit=limit, on_token=progress.on_token)
