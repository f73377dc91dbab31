"""Speed and memory, each held against something.

Times are paired with those of what they are held against: in turns, medians of several. Their ratios are what counts,
since other work on the machine slows both sides of a pair down alike. Memory and likeness have no such pairs.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from ..bundled import BUNDLED
from ..checkpoints.convert import convert
from ..checkpoints.int8_layers import Linear as Int8Linear
from ..checkpoints.int8_layers import fast_on_cpu
from ..checkpoints.quantise import QUANTISED, int8_weight, quantise, quantised_format
from ..checkpoints.reader import open_checkpoint
from ..checkpoints.wegen import WeGen
from ..engine import TurnRequest, draft_pictures
from ..errors import WeGenError
from ..media.plots import target_plot
from ..network import cpu_layers
from ..network.agent import Agent
from ..network.configuration import LanguageConfig, WeGenConfig
from ..network.prefix_cache import PrefixCache
from ..network.vision_encoder import VisionEncoder
from ..prompting.decoding import Decoding
from ..prompting.text_sampling import TextSampling, seeded
from ..values import Answer, Chat, Turn
from . import memory_benchmarks
from .host_install import HostInstall
from .precision_cost import precision_cost

PROMPT = 32
"""Tokens in front of the picture that is written."""
SIZES = {"256x6": (256, 6, 8), "1024x8": (1024, 8, 16), "2048x4": (2048, 4, 16)}
"""Width, layers and heads of the language models that are measured."""
BENCHMARKS = (*SIZES, "sampling", "rewriting", "chat", "precisions", "load", "convert", "decode")
TARGETS = {
    "language_model/256x6_vs_generate": 1.6,
    "language_model/1024x8_vs_generate": 1.0,
    "language_model/2048x4_vs_generate": 1.0,
    "language_model/1024x8_of_bandwidth": 0.85,
    "language_model/2048x4_of_bandwidth": 0.85,
    "language_model/guidance_cost": 1.2,
    "language_model/batch8_cost": 3.0,
    "rewriting/batch16_cost": 2.5,
    "chat/turn10_vs_turn1": 1.3,
    "decode/vs_stock": 1.05,
    "load/peak_vs_part": 1.15,
    "load/time_vs_read": 1.3,
    "convert/peak_over_largest_gb": 1.0,
    "int8/feature_cosine": 0.995,
    "int8/1024x8_vs_float32": 1.0,
}
"""Targets: costs at most, and of those whose name ends as in `MORE_IS_BETTER` at least."""
MORE_IS_BETTER = ("_vs_generate", "_of_bandwidth", "_cosine", "_vs_float32")
REWRITTEN = 32
"""Tokens of each rewrite that is timed."""


@dataclass(frozen=True)
class Measured:
    """One number: `value` is seconds of what is measured over seconds (or other) of what it is held against.

    Attributes:
        name: as in the JSON file.
        value: the ratio; names that end as in `MORE_IS_BETTER` are speeds or likenesses, others costs.
        seconds, against: medians of both sides, in `unit`.
    """

    name: str
    value: float
    seconds: float
    against: float
    unit: str = "s"

    @property
    def passed(self) -> bool | None:
        """Whether it meets its target; None where there is none."""
        target = TARGETS.get(self.name)
        if target is None:
            return None
        return self.value >= target if self.name.endswith(MORE_IS_BETTER) else self.value <= target

    def __str__(self) -> str:
        judged = {None: "", True: "ok", False: "MISSED"}[self.passed]
        sides = f"{self.seconds:9.3f} {self.unit:2} {self.against:9.3f} {self.unit:2}"
        target = f"{TARGETS[self.name]:7.3g}" if self.name in TARGETS else " " * 7
        return f"{self.name:38} {self.value:7.3f} {target} {judged:6} {sides}".rstrip()


@dataclass(frozen=True)
class NotMeasured:
    """A number that this machine cannot give, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name:38} not measured: {self.reason}"


def paired(
    first: Callable[[], object],
    second: Callable[[], object],
    repeats: int,
    ready: Callable[[], object] = lambda: None,
) -> tuple[float, float, float]:
    """Medians of the seconds that both take, run in turns after one round that is not counted; and of their ratio.

    `ready` is called before each round and not timed. On one thread that is the thread's own time, which other work on
    the machine cannot take away.
    """
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    pairs = []
    for _ in range(repeats + 1):
        ready()
        pair = []
        for work in (first, second):
            begin = clock()
            work()
            pair.append(clock() - begin)
        pairs.append(pair)
    pairs = pairs[1:]
    ratio = statistics.median(a / b for a, b in pairs)
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs), ratio


def random_wegen(size: str, vocab_size: int | None = None) -> WeGen:
    """A language model of one of `SIZES` with random weights, between the parts of the bundled model."""
    width, layers, heads = SIZES[size]
    bundled = open_checkpoint(BUNDLED)
    language = LanguageConfig(
        vocab_size=vocab_size or bundled.config.language.vocab_size,
        width=width,
        mlp_width=width * 11 // 4,
        layers=layers,
        heads=heads,
        kv_heads=heads,
    )
    config = WeGenConfig(bundled.config.vision, language, bundled.config.unet, bundled.config.vae)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        agent = cpu_layers.prepare(Agent(config, cpu_layers).eval().requires_grad_(False))
    with torch.device("meta"):
        vision_encoder = VisionEncoder(config.vision)
    return WeGen(config, bundled.tokenizer, vision_encoder, agent, torch.device("cpu"), torch.float32)


def transformers_model(wegen: WeGen) -> nn.Module:
    """The language model as transformers' own, on the same memory."""
    from transformers import LlamaConfig, LlamaForCausalLM

    language = wegen.config.language
    config = LlamaConfig(
        vocab_size=language.vocab_size,
        hidden_size=language.width,
        intermediate_size=language.mlp_width,
        num_hidden_layers=language.layers,
        num_attention_heads=language.heads,
        num_key_value_heads=language.kv_heads,
        max_position_embeddings=language.context_length,
        rms_norm_eps=language.norm_eps,
        tie_word_embeddings=False,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model.load_state_dict(wegen.agent.llm.state_dict(), assign=True)
    # What stands outside the state dict was made on the meta device too.
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    model.generation_config.pad_token_id = 0
    return model.eval()


def write_picture(wegen: WeGen, rows: int = 1, guidance_scale: float = 1.0) -> Tensor:
    """Read a prompt and write one picture's features in each of `rows` sequences."""
    tokens = wegen.config.tokens_per_picture
    prompt = wegen.embed([wegen.tokenizer.begin_id] * PROMPT)
    decoding = Decoding(wegen, [prompt] * rows, room=tokens + 1, guided=guidance_scale != 1)
    return decoding.write_picture(guidance_scale, final=True).features


def generate(model: nn.Module, tokens: int) -> Tensor:
    """As many tokens from transformers' own loop, behind a prompt of the same length."""
    ids = torch.ones(1, PROMPT, dtype=torch.long)
    with torch.inference_mode():
        return model.generate(
            ids, attention_mask=ids, do_sample=False, max_new_tokens=tokens, min_new_tokens=tokens, use_cache=True
        )


def language_model(size: str, repeats: int) -> list[Measured]:
    """One picture's features: against transformers' `generate`, guided and in a batch of eight, against bandwidth."""
    wegen = random_wegen(size)
    model = transformers_model(wegen)
    tokens = wegen.config.tokens_per_picture
    name = f"language_model/{size}"
    ours, theirs, ratio = paired(lambda: write_picture(wegen), lambda: generate(model, tokens), repeats)
    found = [Measured(f"{name}_vs_generate", 1 / ratio, ours, theirs)]
    weights = [p for key, p in wegen.agent.named_parameters() if p.ndim == 2 and "embed_tokens" not in key]

    def read() -> None:
        for _ in range(tokens):
            for weight in weights:
                weight.sum()

    ours, theirs, ratio = paired(lambda: write_picture(wegen), read, repeats)
    found.append(Measured(f"{name}_of_bandwidth", 1 / ratio, ours, theirs))
    for key, options in {"guidance_cost": {"guidance_scale": 3.0}, "batch8_cost": {"rows": 8}}.items():
        more, one, ratio = paired(lambda o=options: write_picture(wegen, **o), lambda: write_picture(wegen), repeats)
        found.append(Measured(f"{name}_{key}", ratio, more, one))
    return found


def sampling(rows: int, vocab_size: int, repeats: int) -> Measured:
    """Choosing one word in each of `rows` sequences, against sorting all words in float64."""
    logits = torch.randn(rows, vocab_size, generator=seeded(0)) * 3
    generators = [seeded(row) for row in range(rows)]
    choose = TextSampling.from_creativity(0.8).choose
    ours, theirs, ratio = paired(
        lambda: choose(logits, generators), lambda: logits.double().softmax(-1).sort(descending=True), repeats
    )
    return Measured(f"sampling/{rows}x{vocab_size}_vs_sort", ratio, ours, theirs)


def rewriting(repeats: int, size: str = "1024x8") -> Measured:
    """Sixteen rewrites of one prompt against one, of as many tokens each."""
    wegen = random_wegen(size, 32330)
    prompt = wegen.embed([wegen.tokenizer.begin_id] * 2 * PROMPT)
    sampling = TextSampling.from_creativity(0.5)

    def write(rows: int) -> None:
        decoding = Decoding(wegen, [prompt], room=REWRITTEN + 1).select([0] * rows)
        generators = [seeded(row) for row in range(rows)]
        decoding.write_text(REWRITTEN, sampling, generators, final=True, least=REWRITTEN)

    many, one, ratio = paired(lambda: write(16), lambda: write(1), repeats)
    return Measured("rewriting/batch16_cost", ratio, many, one)


def chat(repeats: int, size: str) -> Measured:
    """The language model's work for the tenth turn of a chat against that for the first.

    All ten turns are in view, with a picture and some fifty words each. Nothing is rewritten, since that takes the same
    time in each turn.
    """
    wegen = random_wegen(size)
    config = replace(wegen.config, templates=open_checkpoint(BUNDLED).config.templates)
    prefixes = PrefixCache()
    wegen = replace(wegen, config=config, prefixes=prefixes)
    numbers = torch.Generator().manual_seed(0)
    picture = torch.zeros(config.size, config.size, 3)
    words = " ".join(["a red house stands on a green meadow under a blue sky"] * 4)

    def turn(number: int) -> Turn:
        features = torch.randn(config.tokens_per_picture, config.vision.width, generator=numbers)
        return Turn(f"change number {number}", (Answer(words, features, picture, 0),))

    turns = tuple(turn(number) for number in range(9))
    asked = iter(range(10**6))

    def draft(before: Chat) -> None:
        draft_pictures(TurnRequest(f"and now the wish {next(asked)}", prompt_override=words), before, wegen)

    # What the ninth turn has read is remembered when the tenth begins.
    def ready() -> None:
        prefixes.clear()
        draft(Chat(turns[:8]))

    tenth, first, ratio = paired(lambda: draft(Chat(turns)), lambda: draft(Chat()), repeats, ready)
    return Measured(f"chat/{size}_turn10_vs_turn1", ratio, tenth, first)


def int8_speed(repeats: int, size: str = "1024x8") -> Measured | NotMeasured:
    """Speed of one picture's features with weights in int8 against float32."""
    measured = f"int8/{size}_vs_float32"
    if not fast_on_cpu():
        return NotMeasured(
            measured, "this CPU has no instructions for int8 (VNNI), so that quantised weights are computed in float32"
        )
    exact = random_wegen(size)
    agent = random_wegen(size).agent
    for name, module in list(agent.named_modules()):
        layer = (
            quantised_format(f"{name}.weight", tuple(module.weight.shape), "int8")
            if isinstance(module, nn.Linear)
            else None
        )
        whole = None if layer is None else int8_weight(quantise(module.weight, layer), layer)
        if whole is not None:
            parent, _, child = name.rpartition(".")
            setattr(agent.get_submodule(parent), child, Int8Linear(whole, None))
    quantised = replace(exact, agent=agent)
    ours, theirs, ratio = paired(lambda: write_picture(quantised), lambda: write_picture(exact), repeats)
    return Measured(measured, 1 / ratio, ours, theirs)


def precisions(repeats: int) -> Iterator[Measured | NotMeasured]:
    """How near the bundled model's features stay when it is quantised (cosines, no times), and what int8 is worth."""
    with tempfile.TemporaryDirectory() as folder:
        for dtype in QUANTISED:
            quantised = convert(BUNDLED, Path(folder) / dtype, dtype)
            costs = {cost.name: cost for cost in precision_cost(quantised, BUNDLED)}
            cosine = costs["language_model/features"].cosine
            yield Measured(f"{dtype}/feature_cosine", cosine, cosine, 1.0, "")
    yield int8_speed(repeats)


def plot(found: Sequence[Measured]) -> Image.Image:
    """What was measured against the targets."""
    rows = [
        (one.name, one.value, TARGETS[one.name], one.name.endswith(MORE_IS_BETTER))
        for one in found
        if one.name in TARGETS
    ]
    return target_plot("Measured against targets, one thread of a CPU", rows)


def run(names: Sequence[str], repeats: int, host: HostInstall) -> Iterator[Measured | NotMeasured]:
    """The benchmarks that are asked for, one number after the other.

    Args:
        names: of `BENCHMARKS`.
        repeats: pairs behind each median; fewer than 5 are for trying out.
        host: the ComfyUI for "decode".

    Raises:
        WeGenError: before anything is measured, for an unknown name, and for "decode" without a ComfyUI.
    """
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        raise WeGenError(f"There is no benchmark {unknown[0]!r}; choose among {', '.join(BENCHMARKS)}.")
    if "decode" in names and host.problem:
        raise WeGenError(
            f"The benchmark 'decode' runs inside ComfyUI, and there is {host.problem}. --comfyui and --python name "
            "them too."
        )
    found: list[Measured] = []
    for number, name in enumerate(names):
        for measured in _one(name, repeats, host):
            yield measured
            if name in SIZES and isinstance(measured, Measured):
                found.append(measured)
        if name not in SIZES or SIZES.keys() & set(names[number + 1 :]):
            continue
        # Of several sizes the worst counts.
        for key in ("guidance_cost", "batch8_cost"):
            sizes = [one for one in found if one.name.endswith(f"_{key}")]
            yield replace(max(sizes, key=lambda one: one.value), name=f"language_model/{key}")


def _one(name: str, repeats: int, host: HostInstall) -> Iterator[Measured | NotMeasured]:
    if name in SIZES:
        yield from language_model(name, repeats)
    elif name == "sampling":
        yield sampling(64, 32330, repeats)
    elif name == "rewriting":
        yield rewriting(repeats)
    elif name == "chat":
        # The target is for large models; in small ones looking back is most of the work.
        yield replace(chat(repeats, "1024x8"), name="chat/turn10_vs_turn1")
        yield chat(repeats, "256x6")
    elif name == "precisions":
        yield from precisions(repeats)
    elif name == "load":
        for key, (value, one, other) in memory_benchmarks.load(repeats).items():
            yield Measured(key, value, one, other, "GB" if "peak" in key else "s")
    elif name == "convert":
        yield Measured("convert/peak_over_largest_gb", *memory_benchmarks.convert(), "GB")
    elif name == "decode":
        for key, found in memory_benchmarks.decode(host, repeats, torch.get_num_threads()).items():
            yield NotMeasured(key, "ComfyUI's Python has no diffusers") if found is None else Measured(key, *found)
