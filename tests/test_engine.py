"""Turns as the engine takes them: orders in open language, words that follow pictures, and one place for all."""

import ast
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from comfyui_wegen.models.bundled import BUNDLED
from comfyui_wegen.models.checkpoints.reader import open_checkpoint
from comfyui_wegen.models.checkpoints.wegen import WeGen
from comfyui_wegen.models.data.tasks import ANEW
from comfyui_wegen.models.editing.open_turn import OpenTurn
from comfyui_wegen.models.editing.refinement import Masks
from comfyui_wegen.models.engine import (
    TurnRequest,
    TurnResult,
    draft_pictures,
    drafting,
    predict_masks,
    take_turn,
    take_turns,
)
from comfyui_wegen.models.engine.finishing import OVERRULED
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.media.images import to_pil
from comfyui_wegen.models.options import OPTIONS
from comfyui_wegen.models.painting import painter
from comfyui_wegen.models.painting.loading import load
from comfyui_wegen.models.prompting import rewriting
from comfyui_wegen.models.prompting.conversation import mentioned, require_question
from comfyui_wegen.models.prompting.rewriting import rows_held
from comfyui_wegen.models.prompting.text_sampling import TextSampling
from comfyui_wegen.models.values import Answer, AutoMask, Chat, Reference, References, SamplerSettings, Turn
from support import REPOSITORY


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": -1}, "The seed is -1; it must be from 0 to 18446744073709551615"),
        ({"strength": 0.001}, "The strength is 0.001; it must be from 0.05 to 1"),
        ({"cfg": 31}, "The guidance scale is 31"),
        ({"batch_size": 0}, "The batch size is 0; it must be from 1 to 64"),
        ({"batch_size": 1.5}, "The batch size is 1.5; it must be a whole number"),
        ({"seed": None}, "The seed is None; it must be a whole number"),
        ({"steps": [3]}, r"The steps is \[3\]; it must be a whole number"),
        ({"width": torch.zeros(99)}, r"The width is tensor\(.*; it must be a whole number"),
        ({"strength": "all"}, "The strength is 'all'; it must be a number"),
        ({"rewritten": None}, "The rewritten is None; it must be a text"),
        ({"sampler_name": 5}, "The sampler name is 5; it must be a text"),
        ({"guidance_scale": 3}, "no option 'guidance_scale'; there are seed, "),
    ],
)
def test_options_outside_of_the_table_are_refused(options, said):
    with pytest.raises(WeGenError, match=said):
        TurnRequest.from_options("x", options)


@pytest.mark.parametrize("words", [None, 5, ["a", "cat"], torch.zeros(2)])
def test_what_is_no_text_is_refused(words):
    """Nodes of other packs may hand over anything; the host does not look."""
    for use in (TurnRequest, OpenTurn, require_question, lambda text: mentioned(text, References())):
        with pytest.raises(WeGenError, match="A text is expected, not"):
            use(words)


# Orders, and what a model of open language may answer when it is asked to describe the picture after them.
ORDERS = {
    "remove the red car": "an empty street with houses",
    "remove the cat": "a garden with a bench",
    "delete all the trees, please": "a bare hill under a blue sky",
    "take away the moon": "a dark sky over the sea",
    "erase the text on the sign": "a blank wooden sign by the road",
    "get rid of the people": "an empty beach in the evening",
    "remove everything except the house": "a house on white ground",
    "keep only the boat": "a boat and nothing else",
    "without the hat": "a man with grey hair on a bench",
    "no cat": "a sofa with two cushions",
    "no people": "an empty market square",
    "no red, please": "a blue house with a green door",
    "a house but not red": "a yellow house in a meadow",
    "a house, but without windows": "a house with plain walls",
    "nothing but sand and sky": "dunes under a clear sky",
    "don't show the dog": "a boy playing in the park",
    "never mind the clouds, make the sky clear": "a clear blue sky over a field",
    "replace the cat with a fox": "a fox on the roof",
    "replace the car by a bicycle": "a bicycle in front of the shop",
    "swap the cat and the dog": "the dog sits left and the cat right",
    "black instead of white": "a black horse in the snow",
    "an owl instead of the crow": "an owl on the branch",
    "turn the grey mice into gray rats": "three rats in a barn",
    "make the house blue": "a blue house by the lake",
    "make it night": "a street under the stars",
    "bigger!": "a very large pumpkin",
    "the other one": "a green cup beside a plate",
    "less": "a single flower in a vase",
    "can it be red instead?": "a red umbrella in the rain",
    "could you remove the fence?": "a horse on an open field",
    "why is there a dog? take it out": "a quiet kitchen",
    "what about winter?": "a village under snow",
    "entferne das rote Auto": "eine leere Straße mit Häusern",
    "mach das Haus blau": "ein blaues Haus am See",
    "kein Hut": "ein Mann mit grauen Haaren",
    "statt der Katze ein Fuchs": "ein Fuchs auf dem Dach",
    "enlève le chat": "un jardin avec un banc",
    "une maison, mais pas rouge": "une maison jaune dans un pré",
    "remplace la voiture par un vélo": "un vélo devant la boutique",
    "猫を消して": "庭にベンチがある",
}
EDIT_REWRITE = "[INST] {pictures}Describe the picture after this change: {text} [/INST]\n"


class Brush:
    """A painter whose pictures are all of one colour; it remembers what it was told to paint."""

    def __init__(self):
        self.jobs = []

    def paint(self, job):
        self.jobs.append(job)
        return torch.full((len(job.seeds), job.height, job.width, 3), 0.25)


@pytest.fixture(scope="module")
def open_language(published_dir):
    """A checkpoint in the published form, which names no closed world."""
    return load(published_dir)[0]


def with_templates(wegen, **changes):
    return replace(wegen, config=replace(wegen.config, templates=replace(wegen.config.templates, **changes)))


@pytest.fixture(scope="module")
def drawn(open_language):
    """A chat of one drawn picture."""
    picture = torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(0))
    features = open_language.encode_pictures([to_pil(picture)])[0]
    return Chat().add(Turn("a street with a red car", (Answer("a street with a red car", features, picture, 0),)))


@pytest.fixture
def scripted(monkeypatch):
    """Call it with a model and words: these are written from then on. Gives the passes as (sequences, temperature)."""

    def script(wegen, words):
        passes = []

        def write(self, limit, sampling, *_, **__):
            passes.append((self.batch, sampling.temperature))
            return [[*wegen.tokenizer.encode(words, begin=False), wegen.tokenizer.picture_begin_id]] * self.batch

        monkeypatch.setattr(rewriting.Decoding, "write_text", write)
        return passes

    return script


@pytest.fixture
def read(monkeypatch):
    """The texts that pictures were drawn from, as the language model read them."""
    texts = []
    prompt_of = drafting.picture_prompt

    def told(*arguments):
        prompt = prompt_of(*arguments)
        texts.append(prompt.text)
        return prompt

    monkeypatch.setattr(drafting, "picture_prompt", told)
    return texts


# --- orders in open language ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
def test_a_described_order_is_neither_refused_nor_altered(order, open_language, drawn, scripted, read):
    wegen = with_templates(open_language, edit_rewrite=EDIT_REWRITE)
    passes = scripted(wegen, ORDERS[order])
    request = TurnRequest(order, (1, 2, 3), creativity=0.0, settings=SamplerSettings(auto_mask=None))
    result = take_turn(request, drawn, Brush(), wegen)
    assert passes == [(1, 0.0)], "one greedy pass for all seeds"
    assert [answer.rewrite for answer in result.chat.last.answers] == [ORDERS[order]] * 3
    assert [answer.described for answer in result.chat.last.answers] == [ORDERS[order]] * 3
    assert result.chat.last.instruction == order and result.notes == () and result.spoken == ""
    assert read[-1].endswith(f"[INST] {ORDERS[order]} Everything else stays the same. [/INST]\n<img>")


@pytest.mark.parametrize("order", ORDERS)
def test_without_a_template_for_it_an_order_is_drawn_as_it_stands(order, open_language, drawn, scripted, read):
    passes = scripted(open_language, ORDERS[order])
    request = TurnRequest(order, (1, 2, 3), creativity=0.0, settings=SamplerSettings(auto_mask=None))
    result = take_turn(request, drawn, Brush(), open_language)
    assert passes == []
    assert [answer.rewrite for answer in result.chat.last.answers] == [order] * 3
    assert result.notes == () and result.spoken == ""
    assert read[-1].endswith(f"[INST] {order} Everything else stays the same. [/INST]\n<img>")


@pytest.mark.parametrize(
    ("phrase", "words", "whole"),
    [
        ("drawn anew", "Drawn anew, a street at night", True),
        ("drawn anew", "a street that was drawn anew", False),
        ("", "drawn anew, a street at night", False),
    ],
)
def test_all_may_change_where_the_model_says_that_it_draws_anew(
    phrase, words, whole, open_language, drawn, monkeypatch
):
    """Also where it means to draw the very features that the picture has, and only as far as the user's masks allow."""
    wegen = with_templates(open_language, anew=phrase)
    features = drawn.last.answer.features
    monkeypatch.setattr(drafting, "draw_features", lambda *_: {(0, words): features})
    request = TurnRequest("sharpen it", prompt_override=words)
    result = take_turn(request, drawn, Brush(), wegen)
    assert (result.change is not None and bool((result.change == 1).all())) == whole
    assert bool(result.notes) != whole, "an order that changes nothing says so"
    [mask] = predict_masks(request, drawn, wegen)
    assert mask.empty != whole and not mask.heat.any()
    keep = torch.zeros(32, 32)
    keep[:8] = 1
    kept = take_turn(replace(request, masks=Masks(keep=keep)), drawn, Brush(), wegen)
    assert torch.equal(kept.chat.last.answer.picture[:8], drawn.last.answer.picture[:8])
    assert torch.equal(kept.chat.last.answer.picture[20:], drawn.last.answer.picture[20:]) != whole


@pytest.mark.parametrize("ask", [draft_pictures, predict_masks])
def test_drafts_that_are_remembered_hold_on_to_no_models(ask, open_language, drawn, monkeypatch):
    asked = []
    monkeypatch.setattr(WeGen, "recall", lambda _, question, answer: asked.append(question) or answer())
    seen = replace(drawn.last.answer, seen_by=open_language.vision_id)
    chat = Chat((replace(drawn.last, answers=(seen,)),), painted_by="models")
    ask(TurnRequest("make it night"), chat, open_language)
    assert [question.chat for question in asked] == [chat] and asked[0].chat.painted_by is None


@pytest.mark.parametrize("wish", ["Drawn anew, a street at night", "keeping bees: a man in a garden"])
def test_a_first_wish_is_read_as_it_stands(wish, open_language, read):
    """Also where it begins as the model's own words for a change may."""
    wegen = with_templates(open_language, anew="drawn anew", kept="keeping {things}: ")
    result = take_turn(TurnRequest(wish, rewrite=False), Chat(), Brush(), wegen)
    assert result.chat.last.instruction == result.chat.last.answer.rewrite == wish
    assert read[-1].endswith(f"{wish} [/INST]\n<img>")


@pytest.mark.parametrize("order", ["remove the red car", "no cat", "mach das Haus blau", "can it be red instead?"])
def test_with_chance_the_first_attempt_of_an_order_is_taken_too(order, open_language, drawn, scripted):
    wegen = with_templates(open_language, edit_rewrite=EDIT_REWRITE)
    passes = scripted(wegen, ORDERS[order])
    result = take_turn(TurnRequest(order, (1,), creativity=1.0), drawn, Brush(), wegen)
    assert passes == [(1, 1.0)]
    assert result.chat.last.answer.rewrite == ORDERS[order]


def test_an_answer_in_words_comes_with_the_picture_that_the_chat_goes_on_with(drawn):
    two = Turn("make it night", drawn.last.answers * 2, picked=1)
    result = TurnResult(drawn.add(two), (), "i cannot draw that.")
    assert result.answers == (two.answer,) and result.change is None
    assert torch.equal(result.pictures, two.answer.picture[None])


def test_a_first_wish_at_creativity_0_is_written_once_whatever_it_lacks(open_language, scripted):
    passes = scripted(open_language, "a fox on a roof")
    result = take_turn(TurnRequest("a cat on a roof", (1, 2), creativity=0.0), Chat(), Brush(), open_language)
    assert passes == [(1, 0.0)]
    assert [answer.rewrite for answer in result.chat.last.answers] == ["a fox on a roof"] * 2
    assert result.notes == ("2 of 2 descriptions may leave out something that you named: cat.",)


@pytest.mark.parametrize(("seeds", "limit", "used"), [((1,), 3, 2), ((1, 2), 3, 2), ((1, 2), 1, 3)])
def test_small_pictures_leave_a_thread_to_others(open_language, drawn, seeds, limit, used, monkeypatch):
    config, seen = open_language.config, []
    cells = math.prod(drawn.last.answer.picture.shape[:2]) // config.vae.downscale**2
    monkeypatch.setattr(painter, "LIGHT", limit * cells * max(config.unet.block_out_channels) ** 2)

    class Stopped(Brush):
        def paint(self, job):
            seen.append(torch.get_num_threads())
            raise KeyboardInterrupt

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(KeyboardInterrupt):
            take_turn(TurnRequest("make it night", seeds, rewrite=False), drawn, Stopped(), open_language)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert seen == [used]


# --- references -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", [0, 1])
def test_a_reference_that_is_not_mentioned_does_no_harm(open_language, drawn, turns):
    chat, picture = drawn if turns else Chat(), torch.zeros(32, 32, 3)
    cat, dog = (Reference(name, torch.full((64, 32), float(turns)), picture) for name in ("cat", "dog"))

    def taken(text, *references):
        return take_turn(TurnRequest(text, references=References(references), rewrite=False), chat, Brush(), parts)

    parts = Recorded(open_language)
    plain, with_cat = taken("a boat"), taken("a boat", cat)
    assert with_cat.chat == plain.chat and with_cat.notes == ("Not mentioned, so not used: @cat.", *plain.notes)
    assert len(parts.answers) == 1, "the language model was not asked again"
    assert taken("a boat for @dog", cat, dog).chat == taken("a boat for @dog", dog).chat


@pytest.mark.parametrize("turns", [0, 1])
def test_a_mention_of_nothing_is_refused_before_anything_is_computed(open_language, drawn, turns):
    chat, parts = drawn if turns else Chat(), Recorded(open_language)
    cat = Reference("cat", torch.ones(64, 32), torch.zeros(32, 32, 3))
    with pytest.raises(WeGenError, match="@dog, but there are no references"):
        take_turn(TurnRequest("a boat for @dog"), chat, Brush(), parts)
    with pytest.raises(WeGenError, match="@dog, but the references are: @cat"):
        take_turn(TurnRequest("a boat", prompt_override="a boat for @dog", references=References((cat,))), chat,
                  Brush(), parts)  # fmt: skip
    assert parts.questions == []


# --- one implementation -----------------------------------------------------------------------------------------------


class Recorded:
    """Parts of a checkpoint that remember what was asked of its language model."""

    def __init__(self, wegen):
        self.config, self.tokenizer, self.load_vision = wegen.config, wegen.tokenizer, wegen.load_vision
        self.vision_id, self.load_language = wegen.vision_id, wegen.load_language
        self.questions, self.answers = [], []

    def recall(self, question, answer):
        if question not in self.questions:
            self.answers.append(answer())
        self.questions.append(question)
        return self.answers[-1]


PAINTERS = [
    {"steps": 5},
    {"guidance_scale": 3.0},
    {"sampler": "dpmpp_2m"},
    {"scheduler": "karras"},
    {"strength": 0.5},
    {"auto_mask": None},
    {"auto_mask": AutoMask(0.3, 5, 7)},
    {"align": True},
    {"match_tone": True},
]


@pytest.mark.parametrize("turns", [0, 1])
def test_the_painters_settings_never_ask_the_language_model_again(open_language, drawn, turns):
    parts, chat = Recorded(open_language), drawn if turns else Chat()
    request = TurnRequest("make it night", rewrite=False)
    for changed in ({}, *PAINTERS):
        take_turn(replace(request, settings=SamplerSettings(**changed)), chat, Brush(), parts)
    assert len(parts.questions) == 1 + len(PAINTERS) and len(parts.answers) == 1
    assert all(question == parts.questions[0] for question in parts.questions)
    assert len(set(map(hash, parts.questions))) == 1
    for other in (
        replace(request, seeds=(1,)),
        replace(request, instruction="make it day"),
        replace(request, prompt_override="a street at night"),
        replace(request, settings=SamplerSettings(feature_guidance=1.5)),
        replace(request, settings=SamplerSettings(collection="released")),
    ):
        count = len(parts.answers)
        take_turn(other, chat, Brush(), parts)
        assert len(parts.answers) == count + 1


class Asked(Exception):
    """Stops where memory is asked for."""


@pytest.mark.parametrize(
    ("painted", "said"),
    [((2, 32, 32, 3), "gave 2 pictures, and 1 were asked for"), ((1, 8, 16, 3), "of 16x8 pixels in place of 32x32")],
)
def test_other_pictures_than_were_asked_for_are_refused(open_language, painted, said):
    class Wrong:
        def paint(self, job):
            return torch.zeros(painted)

    request = TurnRequest("a red house", rewrite=False, size=(32, 32))
    with pytest.raises(WeGenError, match=said):
        take_turn(request, Chat(), Wrong(), open_language)


@pytest.mark.parametrize(
    ("given", "rows"),
    [
        ({"rewrite": False}, 1),
        ({"rewrite": False, "seeds": (1, 2, 2)}, 2),
        ({"rewrite": False, "settings": SamplerSettings(feature_guidance=1.5)}, 2),
        ({}, rows_held(1)),
        ({"settings": SamplerSettings(feature_guidance=1.5)}, rows_held(1)),
        ({"prompt_override": "a cat", "settings": SamplerSettings(feature_guidance=1.5)}, 2),
        ({"seeds": (1, 2, 3)}, rows_held(3)),
        ({"seeds": tuple(range(20)), "settings": SamplerSettings(feature_guidance=1.5)}, 40),
    ],
)
def test_memory_is_asked_for_what_is_written_or_drawn_at_once(open_language, given, rows):
    parts, found = Recorded(open_language), []

    def load(count, positions):
        found.append(count)
        raise Asked

    parts.load_language = load
    with pytest.raises(Asked):
        take_turn(TurnRequest("a", **given), Chat(), Brush(), parts)
    assert found == [rows]


@pytest.mark.parametrize(
    ("given", "taken"), [({}, (6, 3.5)), ({"steps": 4}, (4, 3.5)), ({"guidance_scale": 2}, (6, 2))]
)
def test_steps_and_guidance_that_are_left_open_are_the_checkpoints(open_language, given, taken):
    parts, painter = Recorded(open_language), Brush()
    parts.config = replace(parts.config, sampler_steps=6, guidance_scale=3.5)
    result = take_turn(TurnRequest("a", rewrite=False, settings=SamplerSettings(**given)), Chat(), painter, parts)
    [job] = painter.jobs
    assert (job.settings.steps, job.settings.guidance_scale) == taken
    assert result.chat.turns[-1].settings == job.settings  # a chat says what was done


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_first_turns_and_later_ones_can_be_taken_together(open_language, drawn, order):
    chats = [(Chat(), drawn)[turns] for turns in order]
    request = TurnRequest("make it night", (3,), rewrite=False, settings=SamplerSettings(auto_mask=None))
    brush, requests = Brush(), [request] * 2
    results = take_turns(requests, chats, brush, open_language)
    assert [len(result.chat.turns) for result in results] == [turns + 1 for turns in order]
    assert [job.before is not None for job in brush.jobs] == [bool(turns) for turns in order]


def test_drafts_for_other_painters_are_of_the_whole_picture(open_language):
    """Even of a large picture of which an earlier turn keeps a part, where a turn would look at the rest alone."""
    picture, keep = torch.rand(96, 96, 3), torch.zeros(96, 96)
    keep[20:] = 1
    parts, request = Recorded(open_language), TurnRequest("make it night", rewrite=False)
    answer = Answer("x", torch.ones(64, 32), picture, 0, seen_by=parts.vision_id)
    chat = Chat().add(Turn("x", (answer,), keep_mask=keep))
    draft_pictures(request, chat, parts)
    take_turn(request, chat, Brush(), parts)
    drafted, taken = (question.chat for question in parts.questions)
    assert drafted == chat != taken


def test_defaults_are_those_of_the_table():
    request, how = TurnRequest("a cat"), AutoMask()
    settings = request.settings
    assert settings == SamplerSettings() and settings.auto_mask == how
    in_python = {
        "seed": request.seeds[0],
        "batch_size": len(request.seeds),
        "rewrite": request.rewrite,
        "steps": settings.steps,
        "cfg": settings.guidance_scale,
        "sampler_name": settings.sampler,
        "scheduler": settings.scheduler,
        "width": 0 if request.size is None else request.size[0],
        "height": 0 if request.size is None else request.size[1],
        "feature_guidance": settings.feature_guidance,
        "collection": settings.collection,
        "strength": settings.strength,
        "auto_mask": settings.auto_mask is not None,
        "threshold": how.threshold or 0.0,
        "grow": how.grow,
        "soften": how.soften,
        "release": request.masks.release,
        "align": settings.align,
        "rewritten": request.prompt_override,
        "match_tone": settings.match_tone,
    }
    assert in_python == {name: option.default for name, option in OPTIONS.items() if name != "creativity"}
    assert all(option.refine_default is None for name, option in OPTIONS.items() if name != "creativity")
    creativity = OPTIONS["creativity"]
    assert request.sampling_of(0) == TextSampling.from_creativity(creativity.default)
    assert request.sampling_of(1) == TextSampling.from_creativity(creativity.refine_default)


def test_the_bundled_model_says_anew_as_it_was_taught():
    templates = open_checkpoint(BUNDLED).config.templates
    assert templates.anew == ANEW and templates.says_anew(f"{ANEW}, on the sea at night.")


def test_tooltips_name_what_the_two_checkpoints_take(published_dir):
    bundled, published = open_checkpoint(BUNDLED).config, open_checkpoint(published_dir).config
    steps, guidance = OPTIONS["steps"].help, OPTIONS["cfg"].help
    assert f"the bundled one {bundled.sampler_steps}, the published one {published.sampler_steps})" in steps
    assert f"the bundled one {bundled.guidance_scale:g}, the published one {published.guidance_scale:g})" in guidance


def test_turns_are_made_in_one_place():
    """The engine's; others bring pictures of the user's or of other models, read a file, or make up a chat to time."""

    def makes_turns(path):
        calls = (node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))
        return any("Turn" in (getattr(call, "id", ""), getattr(call, "attr", "")) for call in calls)

    paths = [path for folder in ("models", "wegen_nodes") for path in (REPOSITORY / folder).rglob("*.py")]
    found = {str(path.relative_to(REPOSITORY)) for path in paths if makes_turns(path)}
    assert found == {
        "models/engine/planning.py", "models/encoding.py", "models/editing/open_turn.py", "models/media/chat_file.py",
        "models/evaluation/benchmarks.py",
    }  # fmt: skip


# --- words follow pictures --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nano():
    from comfyui_wegen.models.pipeline import Pipeline

    return Pipeline.from_folder(BUNDLED)


def house_in(answer):
    """What the judge sees of the only house in a picture."""
    from comfyui_wegen.models.evaluation.judge import bundled_judge

    [reading] = bundled_judge().read_pictures([np.asarray(to_pil(answer.picture))])
    [house] = [thing for thing in reading.named.things if thing.kind == "house"]
    return house, reading.named.sky


@pytest.fixture(scope="module")
def red_house(nano):
    """A chat that begins with a red house at the bottom left."""
    words = "on a meadow by day, a big red house at the bottom left."
    chat = nano.generate("a red house", prompt_override=words)
    house, sky = house_in(chat.last.answer)
    assert (house.colour, sky) == ("red", "day") and house.column < 2 < house.row
    return chat


@pytest.mark.slow
def test_without_masks_the_order_is_followed(nano, red_house):
    result = nano.take_turn(TurnRequest("make the house blue"), red_house)
    assert house_in(result.chat.last.answer)[0].colour == "blue"
    assert "blue house" in result.chat.last.answer.described and result.notes == ()


@pytest.mark.slow
@pytest.mark.parametrize("masks", ["edit elsewhere", "house kept", "both"])
def test_an_order_that_masks_leave_no_room_for_is_not_remembered_as_done(nano, red_house, masks):
    height, width = red_house.last.answer.picture.shape[:2]
    elsewhere, house = torch.zeros(height, width), torch.zeros(height, width)
    elsewhere[: height // 2, width // 2 :] = 1
    house[height // 2 :, : width // 2] = 1
    order = "make the house blue"
    request = TurnRequest(
        order,
        masks=Masks(
            edit=None if masks == "house kept" else elsewhere,
            keep=None if masks == "edit elsewhere" else house,
        ),
    )
    result = nano.take_turn(request, red_house)
    answer = result.chat.last.answer
    assert torch.equal(answer.picture, red_house.last.answer.picture)
    assert result.notes == (OVERRULED.format(order=order),) and OVERRULED.format(order=order) in result.reply
    assert "red house" in answer.described and "blue" not in answer.described
    night = nano.take_turn(TurnRequest("make it night"), result.chat)
    seen, sky = house_in(night.chat.last.answer)
    assert seen.colour == "red" and (sky == "night" or masks != "edit elsewhere")
    assert "red house" in night.chat.last.answer.described and "blue house" not in night.reply
