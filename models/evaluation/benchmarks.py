"""Speed and memory, each number paired with what it is held against: in one process, in turns, medians of several.

Ratios are what counts: other work on the machine slows both sides of a pair down alike.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..bundled import BUNDLED
from ..checkpoints.convert import convert
from ..checkpoints.quantise import QUANTISED
from ..checkpoints.reader import open_checkpoint
from ..checkpoints.wegen import WeGen
from ..errors import WeGenError
from ..network import few_rows
from ..network.agent import Agent
from ..network.configuration import LanguageConfig, WeGenConfig
from ..network.vision_encoder import VisionEncoder
from ..prompting.decoding import Decoding
from ..prompting.text_sampling import TextSampling, seeded
from .precision_cost import precision_cost

PROMPT = 32
"""Tokens in front of the picture that is written."""
SIZES = {"256x6": (256, 6, 8), "1024x8": (1024, 8, 16), "2048x4": (2048, 4, 16)}
"""Width, layers and heads of the language models that are measured."""
BENCHMARKS = (*SIZES, "sampling", "precisions")


@dataclass(frozen=True)
class Measured:
    """One number: `value` is seconds of what is measured over seconds (or other) of what it is held against.

    Attributes:
        name: as in the JSON file.
        value: the ratio; names ending in `_vs_generate` and `_of_bandwidth` are speeds (more is better), others costs.
        seconds, against: medians of both sides.
    """

    name: str
    value: float
    seconds: float
    against: float

    def __str__(self) -> str:
        return f"{self.name:34} {self.value:7.2f}   {self.seconds:9.3f} s  {self.against:9.3f} s"


def paired(first: Callable[[], object], second: Callable[[], object], repeats: int) -> tuple[float, float, float]:
    """Medians of the seconds that both take, run in turns after one round that is not counted; and of their ratio.

    On one thread that is the thread's own time, which other work on the machine cannot take away.
    """
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    pairs = []
    for _ in range(repeats + 1):
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
        agent = Agent(config, few_rows).eval().requires_grad_(False)
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
    return decoding.write_picture(guidance_scale).features


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


def precisions() -> list[Measured]:
    """How near the bundled model's features stay when it is quantised: cosines, not times."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for dtype in QUANTISED:
            quantised = convert(BUNDLED, Path(folder) / dtype, dtype)
            costs = {cost.name: cost for cost in precision_cost(quantised, BUNDLED)}
            cosine = costs["language_model/features"].cosine
            found.append(Measured(f"{dtype}/feature_cosine", cosine, 0.0, 0.0))
    return found


def run(names: Sequence[str], repeats: int) -> Iterator[Measured]:
    """The benchmarks that are asked for, one number after the other.

    Args:
        names: of `BENCHMARKS`.
        repeats: pairs behind each median, at least 5.
    """
    for name in names:
        if name in SIZES:
            yield from language_model(name, repeats)
        elif name == "sampling":
            yield sampling(64, 32330, repeats)
        elif name == "precisions":
            yield from precisions()
        else:
            raise WeGenError(f"There is no benchmark {name!r}; choose among {', '.join(BENCHMARKS)}.")
