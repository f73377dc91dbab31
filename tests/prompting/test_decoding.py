"""The generation loop, against the same mathematics written down without cache, batch or early stop."""

import math

import pytest
import torch
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.prompting import decoding as decoding_module
from comfyui_wegen.models.prompting.decoding import Decoding
from comfyui_wegen.models.prompting.text_sampling import TextSampling, seeded

CLOSE = {"rtol": 1e-3, "atol": 1e-4}


@pytest.fixture(scope="module")
def wegen(tiny):
    return tiny[0]


def prompt(wegen, text="make it night <img>"):
    return wegen.embed(wegen.tokenizer.encode(text))


def last_hidden(wegen, embeddings):
    return wegen.agent.llm(embeddings[None])[0, -1]


@torch.no_grad()
def picture_by_hand(wegen, embeddings, scale=1.0):
    """Features before and at each position, and what is fed back, each step from the whole sequence."""
    agent = wegen.agent
    second = agent.llm.embed(torch.tensor([wegen.tokenizer.picture_begin_id]))
    aligned, released, fed = [], [], []
    for _ in range(64):
        hidden, free = last_hidden(wegen, embeddings), last_hidden(wegen, second)
        feature = agent.read_features(free + scale * (hidden - free))
        embedding = agent.embed_features(feature)[None]
        embeddings, second = torch.cat([embeddings, embedding]), torch.cat([second, embedding])
        aligned.append(feature)
        fed.append(embedding[0])
        released.append(agent.read_features(last_hidden(wegen, embeddings)))
    return torch.stack(aligned), torch.stack(released), torch.stack(fed), embeddings


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_a_picture_is_what_the_plain_loop_gives(wegen, scale):
    aligned, released, fed, embeddings = picture_by_hand(wegen, prompt(wegen), scale)
    decoding = Decoding(wegen, [prompt(wegen)], room=80, guided=scale != 1)
    picture = decoding.write_picture(scale)
    torch.testing.assert_close(picture.features[0], aligned, **CLOSE)
    torch.testing.assert_close(picture.fed_back[0], fed, **CLOSE)
    end = wegen.agent.llm.embed(torch.tensor([wegen.tokenizer.picture_end_id]))
    torch.testing.assert_close(decoding.hidden[0], last_hidden(wegen, torch.cat([embeddings, end])), **CLOSE)
    again = Decoding(wegen, [prompt(wegen)], room=80, guided=scale != 1).write_picture(scale, "released")
    torch.testing.assert_close(again.features[0], released, **CLOSE)
    assert not torch.allclose(again.features[0], aligned, atol=1e-2)


@pytest.mark.parametrize(("light", "used"), [(2**19, 1), (1, 2)])
def test_small_models_write_on_one_thread_and_leave_the_others_as_they_were(wegen, light, used, monkeypatch):
    monkeypatch.setattr(decoding_module, "LIGHT", light)
    seen = []

    def stop(step, steps):
        seen.append(torch.get_num_threads())
        raise KeyboardInterrupt

    torch.set_num_threads(2)
    try:
        decoding = Decoding(wegen, [prompt(wegen)], room=80)
        for write in (lambda: decoding.write_text(4, on_token=stop), lambda: decoding.write_picture(on_feature=stop)):
            with pytest.raises(KeyboardInterrupt):
                write()
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert seen == [used, used]


@pytest.mark.parametrize("collection", ["aligned", "released"])
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_a_final_picture_is_the_same_for_fewer_passes(wegen, scale, collection, monkeypatch):
    forward, passes = type(wegen.agent.llm).forward, []
    monkeypatch.setattr(type(wegen.agent.llm), "forward", lambda *a, **k: passes.append(1) or forward(*a, **k))

    def write(final):
        steps = []
        decoding = Decoding(wegen, [prompt(wegen)], room=80, guided=scale != 1)
        passes.clear()
        picture = decoding.write_picture(scale, collection, lambda *step: steps.append(step), final)
        return picture, len(passes), steps

    whole, many, steps = write(False)
    final, fewer, steps_of_final = write(True)
    assert torch.equal(final.features, whole.features) and torch.equal(final.fed_back, whole.fed_back)
    assert many - fewer == (2 if collection == "aligned" else 1)
    assert steps == steps_of_final


@pytest.mark.slow
def test_a_batch_of_different_prompts_is_as_if_each_were_alone(wegen):
    texts = ["a cat <img>", "put the second picture on the left side <img>", "<img>"]
    for scale in (1.0, 3.0):
        guided = scale != 1
        together = Decoding(wegen, [prompt(wegen, text) for text in texts], room=80, guided=guided)
        pictures = together.write_picture(scale).features
        words = together.write_text(6)
        for b, text in enumerate(texts):
            alone = Decoding(wegen, [prompt(wegen, text)], room=80, guided=guided)
            torch.testing.assert_close(alone.write_picture(scale).features[0], pictures[b], **CLOSE)
            assert alone.write_text(6)[0] == words[b]


def test_what_was_written_may_be_trained_with(wegen):
    picture = Decoding(wegen, [prompt(wegen)], room=80).write_picture()
    weight = torch.ones(picture.features.shape[-1], requires_grad=True)
    (picture.features * weight).sum().backward()
    picture.features.mul_(2)
    assert weight.grad is not None and not picture.fed_back.is_inference()


def test_two_pictures_in_one_sequence(wegen):
    decoding = Decoding(wegen, [prompt(wegen)], room=150, guided=True)
    decoding.write_picture(2.0)
    begin = wegen.agent.llm.embed(torch.tensor([wegen.tokenizer.picture_begin_id]))
    with torch.inference_mode():
        decoding.hidden = decoding._feed(begin)
    second = decoding.write_picture(2.0).features[0]
    _, _, _, embeddings = picture_by_hand(wegen, prompt(wegen), 2.0)
    end = wegen.agent.llm.embed(torch.tensor([wegen.tokenizer.picture_end_id]))
    expected, *_ = picture_by_hand(wegen, torch.cat([embeddings, end, begin]), 2.0)
    torch.testing.assert_close(second, expected, **CLOSE)


def test_a_guided_picture_needs_a_guided_decoding(wegen):
    with pytest.raises(ValueError, match="guided=True"):
        Decoding(wegen, [prompt(wegen)], room=80).write_picture(2.0)


def greedy_by_hand(wegen, embeddings, limit):
    written = []
    for _ in range(limit):
        logits = wegen.agent.llm.logits(last_hidden(wegen, embeddings))
        logits[list(wegen.tokenizer.picture_ids[1:])] = -math.inf
        written.append(int(logits.argmax()))
        embeddings = torch.cat([embeddings, wegen.agent.llm.embed(torch.tensor(written[-1:]))])
        if written[-1] in (wegen.tokenizer.end_id, wegen.tokenizer.picture_begin_id):
            break
    return written


def test_greedy_text_is_what_the_plain_loop_gives(wegen):
    for text in ("a red cat", "the moon", "12"):
        decoding = Decoding(wegen, [prompt(wegen, text)], room=20)
        with torch.no_grad():
            assert decoding.write_text(20)[0] == greedy_by_hand(wegen, prompt(wegen, text), 20)


def test_text_stops_at_a_picture_and_never_begins_inside_one(wegen):
    inside = set(wegen.tokenizer.picture_ids[1:])
    stops = {wegen.tokenizer.end_id, wegen.tokenizer.picture_begin_id}
    decoding = Decoding(wegen, [prompt(wegen, "a cat")], room=60).select([0] * 16)
    written = decoding.write_text(60, TextSampling(temperature=3.0), [seeded(s) for s in range(16)])
    for ids in written:
        assert not inside & set(ids)
        assert not stops & set(ids[:-1])
        assert len(ids) == 60 or ids[-1] in stops


class Scripted:
    """Writes what it was told instead of choosing; the "generators" are the words of each sequence."""

    def choose(self, logits, generators):
        return [next(generator, 0) for generator in generators]


def test_text_can_be_made_to_hold_some_words(wegen, monkeypatch):
    """Even where a picture is by far the likeliest."""
    logits = wegen.agent.llm.logits

    def eager(hidden):
        found = logits(hidden).clone()
        found[..., wegen.tokenizer.picture_begin_id] = 1e4
        return found

    monkeypatch.setattr(wegen.agent.llm, "logits", eager)
    assert len(Decoding(wegen, [prompt(wegen, "a cat")], room=20).write_text(20)[0]) == 1
    [written] = Decoding(wegen, [prompt(wegen, "a cat")], room=20).write_text(20, least=3)
    assert len(written) == 4 and written[-1] == wegen.tokenizer.picture_begin_id not in written[:-1]


def test_a_sequence_that_waits_for_others_goes_on_where_it_stopped(wegen):
    begin = wegen.tokenizer.picture_begin_id
    words = [[7, 8, begin], [50, 51, 52, 53, 54, begin]]
    start = Decoding(wegen, [prompt(wegen, "a cat")], room=80)
    together = start.select([0, 0])
    assert together.write_text(9, Scripted(), [iter(row) for row in words]) == words
    pictures = together.write_picture().features
    for row, features in zip(words, pictures, strict=True):
        whole = wegen.embed([*wegen.tokenizer.encode("a cat"), *row])
        torch.testing.assert_close(picture_by_hand(wegen, whole)[0], features, **CLOSE)


def test_no_text_at_all(wegen):
    decoding = Decoding(wegen, [prompt(wegen)], room=5)
    before = decoding.hidden.clone()
    assert decoding.write_text(0) == [[]]
    assert torch.equal(decoding.hidden, before)


def test_an_expanded_decoding_writes_what_single_ones_write(wegen):
    sampling = TextSampling(temperature=1.5, top_p=0.95)
    start = Decoding(wegen, [prompt(wegen, "a boat at sea")], room=12)
    seeds = [3, 4, 5]
    together = start.select([0] * 3).write_text(12, sampling, [seeded(s) for s in seeds])
    assert len(set(map(tuple, together))) == 3
    for seed, ids in zip(seeds, together, strict=True):
        alone = Decoding(wegen, [prompt(wegen, "a boat at sea")], room=12)
        assert alone.write_text(12, sampling, [seeded(seed)])[0] == ids
    assert start.select([0] * 5).write_text(12, sampling, [seeded(s) for s in (9, 3, 1, 5, 4)])[1] == together[0]


def test_any_rows_can_be_selected(wegen):
    texts = ["a boat at sea", "the moon", "12"]
    start = Decoding(wegen, [prompt(wegen, text) for text in texts], room=12)
    alone = [Decoding(wegen, [prompt(wegen, text)], room=12).write_text(6)[0] for text in texts]
    assert start.select([2, 0, 2]).write_text(6) == [alone[2], alone[0], alone[2]]
    with pytest.raises(ValueError, match="unguided"):
        Decoding(wegen, [prompt(wegen)], room=1, guided=True).select([0])


def test_letting_go_of_ended_sequences_changes_no_word(wegen):
    sampling = TextSampling(temperature=2.0)
    seeds = range(12)
    start = Decoding(wegen, [prompt(wegen, "a boat at sea")], room=40)

    def write(final):
        # The first token says how long a sequence gets, so their lengths differ a lot.
        return start.select([0] * len(seeds)).write_text(
            40, sampling, [seeded(s) for s in seeds], stopped=lambda ids: len(ids) > ids[0] % 30, final=final
        )

    kept, dropped = write(False), write(True)
    assert kept == dropped
    assert len({len(ids) for ids in kept}) > 4
    assert all(len(ids) <= ids[0] % 30 + 1 for ids in kept)


def test_callbacks_count_and_can_stop(wegen):
    features, words = [], []
    decoding = Decoding(wegen, [prompt(wegen)], room=80)
    decoding.write_picture(on_feature=lambda *step: features.append(step))
    decoding.write_text(3, on_token=lambda *step: words.append(step))
    assert features == [(i, 64) for i in range(1, 65)]
    assert words == [(i, 3) for i in range(1, len(words) + 1)]

    class StopError(Exception):
        pass

    def stop(done, total):
        if done == 2:
            raise StopError

    with pytest.raises(StopError):
        Decoding(wegen, [prompt(wegen)], room=80).write_picture(on_feature=stop)


def test_more_than_the_context_holds_is_refused(wegen):
    with pytest.raises(WeGenError, match="context holds 2048"):
        Decoding(wegen, [prompt(wegen)], room=2048)


def test_results_can_be_used_like_any_tensor(wegen):
    picture = Decoding(wegen, [prompt(wegen)], room=80).write_picture()
    assert not picture.features.is_inference() and not picture.features.requires_grad
    picture.features.mul_(2)  # an inference tensor would refuse


LOGITS = torch.tensor([0.1, 2.0, 1.0, -1.0, 1.9])


def draws(sampling, count=400, logits=LOGITS):
    generator = seeded(0)
    return [sampling.choose(logits[None], [generator])[0] for _ in range(count)]


def test_temperature_0_takes_the_likeliest():
    assert set(draws(TextSampling(0.0))) == {1}
    assert set(draws(TextSampling(1e-300))) == {1}


def test_sampling_follows_the_probabilities():
    counts = torch.bincount(torch.tensor(draws(TextSampling(0.7), 4000)), minlength=5) / 4000
    torch.testing.assert_close(counts, (LOGITS / 0.7).softmax(-1), atol=0.03, rtol=0)


def test_top_p_cuts_the_tail():
    probabilities = LOGITS.softmax(-1).sort(descending=True).values
    assert set(draws(TextSampling(1.0, float(probabilities[0]) - 0.01))) == {1}
    assert set(draws(TextSampling(1.0, float(probabilities[:2].sum()) - 0.01))) == {1, 4}
    assert set(draws(TextSampling(1.0, 1.0))) == {0, 1, 2, 3, 4}


def test_impossible_words_never_come():
    logits = torch.full((10,), -math.inf)
    logits[[2, 7]] = 0.0
    assert set(draws(TextSampling(5.0), logits=logits)) == {2, 7}


def test_one_number_of_the_generator_decides():
    generator, other = seeded(5), seeded(5)
    TextSampling(1.0).choose(LOGITS[None], [generator])
    torch.rand((), generator=other, dtype=torch.float64)
    assert torch.equal(generator.get_state(), other.get_state())


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_overflown_model_is_reported(temperature, bad):
    logits = LOGITS.clone()
    logits[2] = bad
    with pytest.raises(WeGenError, match="bf16 or fp32"):
        TextSampling(temperature).choose(torch.stack([LOGITS, logits]), [seeded(0), seeded(1)])


def test_features_that_are_no_numbers_are_reported(wegen):
    """Else they become a black picture, or a turn that changes nothing."""
    numbers = wegen.agent.output_resampler.state_dict()
    weight = next(value for value in numbers.values() if value.is_floating_point())
    before = weight.clone()
    try:
        weight.view(-1)[0] = math.nan
        with pytest.raises(WeGenError, match="The language model computed nan instead of numbers"):
            Decoding(wegen, [wegen.embed([wegen.tokenizer.picture_begin_id])], 70).write_picture()
    finally:
        weight.copy_(before)
    size = wegen.config.vision.image_size
    with pytest.raises(WeGenError, match="The vision encoder computed"):
        wegen.encode_pixels(torch.full((1, 3, size, size), math.inf))


@pytest.mark.parametrize("sampling", [TextSampling(0.0), TextSampling(0.7, 0.9), TextSampling(1.0)])
def test_each_row_is_chosen_as_if_it_were_alone(sampling):
    logits = torch.randn(16, 700, generator=seeded(1)) * 3
    together = sampling.choose(logits, [seeded(k) for k in range(16)])
    assert together == [sampling.choose(row[None], [seeded(k)])[0] for k, row in enumerate(logits)]


@pytest.mark.parametrize(
    "sampling", [TextSampling(0.6, 0.3), TextSampling(0.8, 0.95), TextSampling(1.5), TextSampling(9.0)]
)
@pytest.mark.parametrize("digits", [1, 7])
def test_a_large_vocabulary_is_not_sorted_and_gives_the_same_words(sampling, digits):
    """Also where many words are equally likely, as with a model that computes in few digits."""
    logits = (torch.randn(64, 5000, generator=seeded(2)) * 4).mul(10**digits).round().div(10**digits)
    chosen = sampling.choose(logits, [seeded(k) for k in range(64)])
    probabilities = ((logits.double() - logits.double().amax(-1, keepdim=True)) / sampling.temperature).softmax(-1)
    draws = torch.stack([torch.rand(1, generator=seeded(k), dtype=torch.float64) for k in range(64)])
    found, order = probabilities.sort(dim=-1, descending=True, stable=True)
    reached = found.cumsum(-1)
    last = (reached - found < sampling.top_p).sum(-1, keepdim=True) - 1
    places = torch.searchsorted(reached, draws * reached.gather(-1, last), right=True).minimum(last)
    assert chosen == order.gather(-1, places)[:, 0].tolist()
    assert len(set(chosen)) > 30


@pytest.mark.parametrize("values", [(-0.1, 1), (math.nan, 1), (math.inf, 1), (1, 0), (1, 1.1), (1, math.nan)])
def test_bad_sampling_is_refused(values):
    with pytest.raises(WeGenError):
        TextSampling(*values)


def test_members_of_a_batch_are_seeds_of_their_own():
    assert torch.rand(1, generator=seeded(7, 2)) == torch.rand(1, generator=seeded(9))
    assert torch.rand(1, generator=seeded(-1)) == torch.rand(1, generator=seeded(2**64 - 1))
