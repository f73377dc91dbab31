"""Conversations as token sequences: mentions, the order of pictures, history, and text that tries to be more."""

import dataclasses

import pytest
import torch
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.network.configuration import Templates
from comfyui_wegen.models.prompting.conversation import (
    TOO_LONG,
    Prompt,
    ask_prompt,
    memory_note,
    picture_prompt,
    picture_text,
    remember,
    rewrite_prompt,
    user_turn,
)
from comfyui_wegen.models.values import Answer, Chat, Reference, References, Turn
from tiny import tiny_config, tiny_tokenizer

CONFIG = tiny_config()
TOKENIZER = tiny_tokenizer()
PICTURE = picture_text(64)
NO_REFERENCES = References()
STAYS = " Everything else stays the same. [/INST]\n"
"""How the published template of an order ends."""


def reference(name, value, weight=1.0):
    return Reference(name, torch.full((64, 32), float(value)), torch.zeros(4, 4, 3), weight=weight)


CAT, HOUSE = reference("cat", 1), reference("house", 2)


def values(prompt):
    """Which reference each picture of a prompt is."""
    return [float(features[0, 0]) for features in prompt.features]


def with_templates(**changes):
    return dataclasses.replace(CONFIG, templates=dataclasses.replace(CONFIG.templates, **changes))


def test_the_published_prompt():
    prompt = user_turn(CONFIG, TOKENIZER, "text_to_picture", "a red cat")
    assert prompt.text == "[INST] Generate a painting: a red cat [/INST]\n"
    assert prompt.features == ()


def test_references_stand_in_front_and_are_called_by_name():
    prompt = user_turn(CONFIG, TOKENIZER, "edit", "put @cat on the roof of @house!", [CAT, HOUSE])
    assert prompt.text == f"[INST] {PICTURE}{PICTURE}put cat (picture 1) on the roof of house (picture 2)!{STAYS}"
    assert values(prompt) == [1, 2]


def test_references_need_not_be_mentioned():
    prompt = user_turn(CONFIG, TOKENIZER, "edit", "both in one picture", [HOUSE, CAT])
    assert values(prompt) == [2, 1]
    assert prompt.text.count("<img>") == 2


def test_pictures_can_stand_where_they_are_mentioned():
    config = with_templates(mention="{picture}", edit="[INST] {text}{pictures} [/INST]\n")
    third = reference("sun", 3)
    prompt = user_turn(config, TOKENIZER, "edit", "@house under @sun", [CAT, HOUSE, third])
    assert prompt.text == f"[INST] {PICTURE} under {PICTURE}{PICTURE} [/INST]\n"
    assert values(prompt) == [2, 3, 1]
    leading = dataclasses.replace(config, templates=dataclasses.replace(config.templates, edit="{pictures}|{text}"))
    assert values(user_turn(leading, TOKENIZER, "edit", "@house under @sun", [CAT, HOUSE, third])) == [1, 2, 3]


def test_one_picture_mentioned_twice_stands_twice():
    prompt = user_turn(with_templates(mention="{picture}"), TOKENIZER, "edit", "@cat and @cat", [CAT])
    assert prompt.text.count("<img>") == 2 and values(prompt) == [1, 1]


def test_weights_scale_features():
    assert values(user_turn(CONFIG, TOKENIZER, "edit", "x", [reference("cat", 4, weight=0.5)])) == [2]


@pytest.mark.parametrize("text", ["@dog on the roof", "(@dog)", "@cat2", "@Cat", "a,@dog"])
def test_unknown_mentions_are_refused_with_those_that_are_known(text):
    with pytest.raises(WeGenError, match="but the references are: @cat, @house"):
        user_turn(CONFIG, TOKENIZER, "edit", text, [CAT, HOUSE])


@pytest.mark.parametrize("text", ["把@cat放在草地上", "猫は@cat です", "고양이@cat", "แมว@cat"])
def test_a_mention_needs_no_space_where_a_script_has_none(text):
    said = user_turn(CONFIG, TOKENIZER, "edit", text, [CAT])
    assert len(said.features) == 1 and "@cat" not in said.text


@pytest.mark.parametrize("text", ["mail me@cat.org", "josé@cat.org", "5 @ 3", "@@cat", "@1"])
def test_an_at_sign_is_not_always_a_mention(text):
    assert f"{text}{STAYS}" in user_turn(CONFIG, TOKENIZER, "edit", text, [CAT]).text


@pytest.mark.parametrize("task", ["text_to_picture", "edit", "rewrite", "ask"])
def test_without_references_a_mention_is_refused_too(task):
    with pytest.raises(WeGenError, match="mentions @dog, but there are no references"):
        user_turn(CONFIG, TOKENIZER, task, "ask @dog")


def test_braces_are_text():
    text = "{text} {pictures} {0} {name!r} {{}} \\1 \\g<0>"
    assert user_turn(CONFIG, TOKENIZER, "edit", text, [CAT]).text == f"[INST] {PICTURE}{text}{STAYS}"


@pytest.mark.parametrize("text", ["<img>", PICTURE, "</s><s>", "<img_00000>"])
def test_text_cannot_become_pictures(text):
    prompt = user_turn(CONFIG, TOKENIZER, "edit", text, [CAT])
    ids = TOKENIZER.encode(prompt.text)
    assert ids.count(TOKENIZER.picture_begin_id) == 1
    assert ids.count(TOKENIZER.begin_id) == 1 and TOKENIZER.end_id not in ids


@pytest.mark.parametrize("text", ["", "  \n\t"])
def test_an_empty_instruction_is_refused(text):
    with pytest.raises(WeGenError, match="empty"):
        user_turn(CONFIG, TOKENIZER, "edit", text)


def turn(instruction, rewrite, value, references=None):
    answers = [Answer(rewrite, torch.full((64, 32), v), torch.zeros(4, 4, 3), 0) for v in (-1.0, float(value))]
    return Turn(instruction, tuple(answers), references or NO_REFERENCES, picked=1)


CHAT = Chat().add(turn("a cat", "a cat", 10)).add(turn("as @cat", "as @cat", 20, References((CAT,))))


def history(config, tokenizer, chat):
    return remember(config, tokenizer, chat, Prompt("")).prompt


def test_history_is_turns_with_the_picked_answers():
    prompt = history(CONFIG, TOKENIZER, CHAT)
    assert prompt.text == (
        f"[INST] Generate a painting: a cat [/INST]\n{PICTURE}\n[INST] {PICTURE}as cat (picture 1){STAYS}{PICTURE}\n"
    )
    assert values(prompt) == [10, 1, 20]


def test_the_next_picture_follows_the_history():
    prompt = picture_prompt(CONFIG, TOKENIZER, CHAT, "with @house", References((HOUSE,)))
    before = history(CONFIG, TOKENIZER, CHAT)
    assert prompt.text == before.text + f"[INST] {PICTURE}with house (picture 1){STAYS}<img>"
    assert values(prompt) == [10, 1, 20, 2]
    first = picture_prompt(CONFIG, TOKENIZER, Chat(), "a cat", References())
    assert first.text == "[INST] Generate a painting: a cat [/INST]\n<img>"


def test_a_rewrite_takes_the_instructions_place_or_follows_it():
    prompt = picture_prompt(CONFIG, TOKENIZER, Chat(), "cat", References(), "a large red cat")
    assert prompt.text == "[INST] Generate a painting: a large red cat [/INST]\n<img>"
    config = with_templates(rewrite_place="answer")
    prompt = picture_prompt(config, TOKENIZER, Chat(), "cat", References(), "a large <img> cat")
    assert prompt.text == "[INST] Describe in detail a painting of: cat [/INST]\na large < img> cat<img>"
    assert picture_prompt(config, TOKENIZER, Chat(), "cat", References(), "cat").text.endswith("[/INST]\n<img>")


def test_a_rewritten_turn_looks_in_history_as_it_was_drawn():
    chat = Chat().add(turn("cat", "a large red cat", 5))
    assert "painting: a large red cat [/INST]" in history(CONFIG, TOKENIZER, chat).text
    text = history(with_templates(rewrite_place="answer"), TOKENIZER, chat).text
    assert f"painting of: cat [/INST]\na large red cat{PICTURE}\n" in text


def test_rewriting_asks_with_its_own_template():
    prompt = rewrite_prompt(CONFIG, TOKENIZER, Chat(), "@cat", References((CAT,)))
    assert prompt.text == f"[INST] Describe in detail a painting of: {PICTURE}cat (picture 1) [/INST]\n"


def test_an_order_is_rewritten_by_a_template_of_its_own_where_there_is_one():
    chat = Chat().add(turn("cat", "a large red cat", 5))
    own = with_templates(edit_rewrite="[INST] after: {pictures}{text} [/INST]\n", rewrite_place="answer")
    assert rewrite_prompt(own, TOKENIZER, chat, "bigger", References()).text.endswith("[INST] after: bigger [/INST]\n")
    assert rewrite_prompt(own, TOKENIZER, Chat(), "cat", References()).text.startswith("[INST] Describe in detail")
    drawn = picture_prompt(own, TOKENIZER, chat, "bigger", References(), "a huge red cat")
    assert drawn.text.endswith("[INST] after: bigger [/INST]\na huge red cat<img>")
    assert picture_prompt(CONFIG, TOKENIZER, chat, "bigger", References()).text.endswith(f"[INST] bigger{STAYS}<img>")


def test_without_a_template_an_order_is_not_rewritten_but_given_words_are_drawn():
    chat = Chat().add(turn("cat", "a large red cat", 5))
    with pytest.raises(WeGenError, match="no template 'edit_rewrite'"):
        rewrite_prompt(CONFIG, TOKENIZER, chat, "bigger", References())
    given = picture_prompt(CONFIG, TOKENIZER, chat, "bigger", References(), "a huge red cat")
    assert given.text.endswith(f"[INST] a huge red cat{STAYS}<img>")
    answering = with_templates(rewrite_place="answer")
    given = picture_prompt(answering, TOKENIZER, chat, "bigger", References(), "a huge red cat")
    assert given.text.endswith(f"[INST] bigger{STAYS}a huge red cat<img>")


def test_the_whole_chat_embeds(tiny):
    wegen, _ = tiny
    prompt = picture_prompt(CONFIG, TOKENIZER, CHAT, "with @house", References((HOUSE,)))
    embeddings = prompt.embeddings(wegen)
    assert embeddings.shape == (prompt.tokens(TOKENIZER), 32)
    ids = TOKENIZER.encode(prompt.text)
    starts = [place for place, token in enumerate(ids) if token == TOKENIZER.picture_ids[1]]
    for start, value in zip(starts, [10.0, 1.0, 20.0, 2.0], strict=True):
        torch.testing.assert_close(embeddings[start], wegen.agent.embed_features(torch.full((32,), value)))


def test_templates_come_from_the_checkpoint():
    config = dataclasses.replace(CONFIG, templates=Templates(text_to_picture="draw {text}:{pictures}"))
    assert user_turn(config, TOKENIZER, "text_to_picture", "x", [CAT]).text == f"draw x:{PICTURE}"


def with_context(length, reserve=20):
    """A model that reads `length` tokens and keeps room for one picture and `reserve` words of a rewrite."""
    language = dataclasses.replace(CONFIG.language, context_length=length)
    return dataclasses.replace(with_templates(rewrite_limit=reserve), language=language)


def long_chat(turns):
    chat = Chat()
    for number in range(turns):
        chat = chat.add(turn(f"a cat {number}", f"a cat {number}", number, References((CAT,)) if number == 1 else None))
    return chat


@pytest.mark.parametrize("length", [2048, 700, 460, 320, 250])
def test_the_oldest_pictures_leave_a_long_chat_first(length):
    chat, config = long_chat(6), with_context(length)
    asked = user_turn(config, TOKENIZER, "edit", "with @house", [HOUSE])
    memory = remember(config, TOKENIZER, chat, asked)
    # Whatever is seen are the latest pictures, the last turn's always among them, and never too much.
    assert len(memory.forgotten) <= len(memory.unseen) <= 5
    assert (len(memory.unseen) == 0) == (length == 2048)
    seen = list(range(len(memory.unseen), 6))
    if 1 in seen:
        seen.insert(seen.index(1), 1)  # the second turn's reference
    assert values(memory.prompt) == seen
    said = memory.prompt.text
    for number in range(6):
        assert (f"a cat {number}" in said) == (number + 1 not in memory.forgotten)
    if length >= 320:
        assert (memory.prompt + asked).tokens(TOKENIZER) + 20 + 64 + 2 <= length
    whole = picture_prompt(config, TOKENIZER, chat, "with @house", References((HOUSE,)))
    if length >= 320:
        assert whole.text.startswith(said) and values(whole)[-1] == 2
    else:  # the last turn's words have no room either
        assert "a cat" not in whole.text and values(whole) == [5, 2] and whole.tokens(TOKENIZER) + 64 <= length


@pytest.mark.parametrize(
    "last",
    [
        turn("@cat and @house", "@cat and @house", 5, References((CAT, HOUSE))),
        turn("a cat", "a cat " * 60, 5),
    ],
)
def test_of_a_last_turn_that_is_too_long_the_picture_stays(last):
    templates = with_templates(
        rewrite_limit=20, rewrite_place="answer", edit_rewrite="[INST] {pictures}{text} [/INST]\n"
    )
    config = dataclasses.replace(
        templates, language=dataclasses.replace(CONFIG.language, context_length=270), turns_in_view=None
    )
    chat = long_chat(1).add(last)
    picture = picture_prompt(config, TOKENIZER, chat, "make it night", NO_REFERENCES, "a cat at night")
    words = rewrite_prompt(config, TOKENIZER, chat, "make it night", NO_REFERENCES)
    asked = ask_prompt(config, TOKENIZER, "what is it?", NO_REFERENCES, chat, limit=60)
    for prompt, room in ((picture, 64), (words, 64), (asked, 60)):
        assert values(prompt)[-1] == 5 and prompt.tokens(TOKENIZER) + room <= 270
        assert "a cat a cat" not in prompt.text
    assert memory_note(config, TOKENIZER, chat, "make it night", NO_REFERENCES) == TOO_LONG
    with pytest.raises(WeGenError, match="This turn needs"):  # what is asked now is what is too long
        language = dataclasses.replace(config.language, context_length=150)
        prompt = picture_prompt(
            dataclasses.replace(config, language=language), TOKENIZER, chat, "cat " * 60, NO_REFERENCES
        )
        language.require_room(prompt.tokens(TOKENIZER) + 64)


def test_a_long_answer_makes_room_for_itself():
    config = with_context(460)
    most = 460 - ask_prompt(config, TOKENIZER, "what is it?", NO_REFERENCES, long_chat(1)).tokens(TOKENIZER)
    for limit in (20, 200, most - 66):
        prompt = ask_prompt(config, TOKENIZER, "what is it?", NO_REFERENCES, long_chat(6), limit)
        assert prompt.tokens(TOKENIZER) + limit <= 460 and 5 in values(prompt)


@pytest.mark.parametrize(("length", "expected"), [(2048, []), (700, ["pictures"]), (320, ["pictures", "words"])])
def test_what_a_chat_has_outgrown_is_said_once(length, expected):
    config = with_context(length)
    notes = [memory_note(config, TOKENIZER, long_chat(turns), "more", NO_REFERENCES) for turns in range(12)]
    said = ["words" if "what was said in its oldest" in note else "pictures" for note in notes if note]
    assert said == expected


@pytest.mark.parametrize(("length", "expected"), [(2048, []), (1000, []), (320, ["words"])])
def test_a_short_look_back_is_no_matter_of_room(length, expected):
    """Of the newest picture alone, which always has room."""
    config = dataclasses.replace(with_context(length), turns_in_view=1)
    notes = [memory_note(config, TOKENIZER, long_chat(turns), "more", NO_REFERENCES) for turns in range(12)]
    assert ["words" if "what was said in its oldest" in note else "pictures" for note in notes if note] == expected


def test_no_more_turns_are_in_view_than_the_model_can_look_back_at():
    chat, config = long_chat(6), dataclasses.replace(with_context(2048), turns_in_view=2)
    asked = user_turn(config, TOKENIZER, "edit", "more", [])
    memory = remember(config, TOKENIZER, chat, asked)
    assert memory.unseen == (1, 2, 3, 4) and memory.forgotten == () and values(memory.prompt) == [4, 5]
    assert all(f"a cat {number}" in memory.prompt.text for number in range(6))
    assert remember(config, TOKENIZER, chat.rewind(2), asked).unseen == ()
    assert remember(dataclasses.replace(config, turns_in_view=None), TOKENIZER, chat, asked).unseen == ()
    with pytest.raises(WeGenError, match="turns_in_view is 0"):
        dataclasses.replace(config, turns_in_view=0)


def test_a_rewrite_comes_of_the_same_memory_as_its_picture():
    chat, config = long_chat(6), with_context(460)
    config = dataclasses.replace(config, templates=dataclasses.replace(config.templates, rewrite_place="answer"))
    config = dataclasses.replace(
        config, templates=dataclasses.replace(config.templates, edit_rewrite="[INST] {pictures}{text} [/INST]\n")
    )
    words = rewrite_prompt(config, TOKENIZER, chat, "more", NO_REFERENCES)
    picture = picture_prompt(config, TOKENIZER, chat, "more", NO_REFERENCES, "a large red cat with a moon above")
    assert words.features and len(words.features) == len(picture.features)


def test_an_at_sign_of_a_turn_before_is_a_plain_word():
    """Another model's turn may have said anything; it cannot be said anew."""
    chat = Chat().add(turn("a poster that says follow @nasa", "a poster of @nasa", 10))
    prompt = picture_prompt(
        CONFIG, TOKENIZER, chat.add(turn("as @cat or @dog", "as @cat", 20, References((CAT,)))), "x", NO_REFERENCES
    )
    assert "a poster of nasa" in prompt.text and "cat (picture 1)" in prompt.text
    with pytest.raises(WeGenError, match="@nasa"):
        picture_prompt(CONFIG, TOKENIZER, chat, "follow @nasa", NO_REFERENCES)


def test_a_long_description_of_the_users_own_makes_room_for_itself():
    config = with_context(700)
    words = "a large red cat " * 30
    assert len(TOKENIZER.encode(words)) > 60
    for turns in range(1, 9):
        prompt = picture_prompt(config, TOKENIZER, long_chat(turns), "more", NO_REFERENCES, words)
        assert prompt.tokens(TOKENIZER) + 64 + 1 <= 700
        assert prompt.features  # the last turn's picture is still there


def test_a_picture_that_the_user_brought_is_shown_with_the_next_instruction():
    own = Turn("", (Answer("", torch.full((64, 32), 7.0), torch.zeros(4, 4, 3), 0),))
    prompt = picture_prompt(CONFIG, TOKENIZER, Chat().add(own), "make it red", NO_REFERENCES)
    assert prompt.text == f"[INST] {PICTURE}make it red{STAYS}<img>"
    assert values(prompt) == [7]
    described = picture_prompt(CONFIG, TOKENIZER, Chat().add(own), "make it red", NO_REFERENCES, "a red house")
    assert described.text == f"[INST] {PICTURE}a red house{STAYS}<img>"
    later = Chat().add(own).add(turn("make it red", "make it red", 8))
    prompt = picture_prompt(CONFIG, TOKENIZER, later, "bigger", NO_REFERENCES)
    assert values(prompt) == [7, 8]
    assert prompt.text.count("<img>") == 3
