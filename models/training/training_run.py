"""The folder of a training run: which stage needs what, and how finished parts are found and put together."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoints.reader import CONFIG_FILE, part_file
from ..checkpoints.tokenizer import ADDED_FILE, MODEL_FILE, Tokenizer
from ..checkpoints.writer import write_safetensors
from ..data.tasks import check_mix
from ..errors import WeGenError
from ..network.agent import Agent
from ..network.compact_vae import CompactVAE
from ..network.configuration import WeGenConfig
from ..network.vision_encoder import VisionEncoder
from ..paths import replace_file, taking_place_of
from ..storybook import GROUNDS, KINDS, SKIES
from .loop import Rhythm, train
from .recipe import (
    AGENT,
    CHECKPOINT_STAGES,
    ENCODER,
    PAINTER,
    ROBUST_ENCODER,
    STAGES,
    TOKENIZER,
    VAE,
    VAE_DECODER,
    Recipe,
    RecipeError,
    build,
    read_model,
    read_recipe,
)
from .run_state import CHECKPOINT, load_average, require_built_on, require_own_result, weights_id
from .stage import Stage
from .start import PackedStart

PACKED = "packed"
MEASURED = "measured.json"
#: stages whose parts a stage learns with
LEARNS_WITH = {
    ROBUST_ENCODER: (ENCODER,),
    PAINTER: (ENCODER, VAE),
    VAE_DECODER: (ENCODER, VAE, PAINTER),
    AGENT: (ENCODER,),
}


@dataclass(frozen=True)
class TrainingRun:
    """One training run.

    Attributes:
        recipes: folder with one `<stage>.json` a stage and the model's sizes.
        out: folder of the run; each stage has a folder in it.
        data: folder of shards that the agent is trained with; None makes its samples on the way.
        files: by the stage's name, recipes that take the place of those in the folder.
    """

    recipes: Path
    out: Path
    data: Path | None = None
    files: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self):
        """Raises RecipeError where the encoder is said to know all there is: nothing would be new to it."""
        known = self.recipe(ENCODER).options.get("known") if self.trains(ENCODER) else None
        if known == [len(KINDS), len(GROUNDS), len(SKIES)]:
            raise RecipeError(
                f"{self.file(ENCODER)}: 'known' is {known}, which is all that the storybook draws. Leave "
                "the option out."
            )

    def file(self, stage: str) -> Path:
        """Where the recipe of one stage stands, if there is one."""
        return self.files.get(stage, self.recipes / f"{stage}.json")

    def recipe(self, stage: str) -> Recipe:
        """The recipe of one stage. Raises RecipeError."""
        recipe = read_recipe(self.file(stage))
        if recipe.stage != stage:
            raise RecipeError(f"{self.file(stage)} is a recipe of the stage {recipe.stage!r}.")
        return recipe

    def folder(self, stage: str) -> Path:
        return self.out / stage

    def tokenizer(self) -> Tokenizer:
        """What the stage "tokenizer" has made."""
        return Tokenizer.from_folder(self.folder(TOKENIZER), self.sizes().tokens_per_picture)

    @property
    def leading(self) -> str:
        """The stage whose recipe says what the whole model is: "agent", or what is trained where no agent is."""
        return next(filter(self.trains, (AGENT, PAINTER, ROBUST_ENCODER)), AGENT)

    def base(self) -> PackedStart | None:
        """The finished model that gives all parts that are not trained."""
        return self.start(self.leading)

    def sizes(self) -> WeGenConfig:
        """The model's sizes as written in the recipes; a UNet or an encoder alone is trained for a model as it is."""
        base = self.base()
        if self.leading != AGENT and base is not None:
            return base.config()
        return read_model(self.recipes / self.recipe(self.leading).model)

    def config(self) -> WeGenConfig:
        """The sizes with what training has found by now: the vocabulary, and the scale of the latents."""
        config = self.sizes()
        if (self.folder(TOKENIZER) / MODEL_FILE).is_file():
            language = dataclasses.replace(config.language, vocab_size=self.tokenizer().vocab_size)
            config = dataclasses.replace(config, language=language)
        measured = self.folder(VAE) / MEASURED
        if start := self.base():
            # What is not trained anew stays, and with it what was measured of it.
            config = dataclasses.replace(config, vae=start.config().vae, features=start.config().features)
        if measured.is_file():
            values = json.loads(measured.read_text(encoding="utf-8"))
            vae = dataclasses.replace(
                config.vae, scaling_factor=values["scaling_factor"], preview_factors=tuple(values["preview_factors"])
            )
            config = dataclasses.replace(config, vae=vae)
        return config

    def start(self, stage: str) -> PackedStart | None:
        """The finished model that a stage begins with, where its recipe names one."""
        recipe = self.recipe(stage)
        return PackedStart((self.recipes / recipe.start).resolve()) if recipe.start else None

    def trains(self, stage: str) -> bool:
        """Whether the recipes have this stage."""
        return self.file(stage).is_file()

    def vision_encoder(self) -> VisionEncoder:
        """The finished one, which other stages learn with."""
        if not self.trains(ROBUST_ENCODER):
            return self._first_encoder()
        return self._filled(VisionEncoder(self.config().vision), ROBUST_ENCODER, "vision_encoder.")

    def _first_encoder(self) -> VisionEncoder:
        """The encoder before the stage "robust_encoder"."""
        encoder = VisionEncoder(self.config().vision)
        if self.trains(ROBUST_ENCODER) and (start := self.start(ROBUST_ENCODER)):
            start.fill(encoder, "vision_encoder")
            return encoder.eval().requires_grad_(False)
        frozen = not self.trains(ENCODER) or bool(self.recipe(ENCODER).options.get("frozen"))
        start = self.start(ENCODER) if self.trains(ENCODER) else self.base()
        if start is None or not frozen:
            return self._filled(encoder, ENCODER, "vision_encoder.")
        start.fill(encoder, "vision_encoder")
        return encoder.eval().requires_grad_(False)

    def reader(self) -> nn.Module:
        """What read and painted single features when the encoder was trained: a quick judge of drawn ones."""
        from .encoder import CellReader

        config = self.config()
        cell = config.vision.image_size // config.feature_grid
        return self._filled(CellReader(config.vision.width, config.tokens_per_picture, cell), ENCODER, "reader.")

    def vae(self) -> CompactVAE:
        """The VAE that the painter learns with."""
        vae, base = CompactVAE(self.config().vae), self.base()
        if self.trains(VAE) or base is None:
            return self._filled(vae, VAE, "vae.")
        base.fill(vae, "vae")
        return vae.eval().requires_grad_(False)

    def finished_vae(self) -> CompactVAE:
        """The same with the decoder that has seen paintings."""
        vae = self.vae()
        if self.trains(VAE_DECODER):
            self._filled(vae.decoder, VAE_DECODER, "vae.decoder.")
        return vae

    def unet(self) -> nn.Module:
        from diffusers import UNet2DConditionModel

        return self._filled(UNet2DConditionModel(**self.config().unet.to_diffusers()), PAINTER, "unet.")

    def agent(self) -> Agent:
        """The trained language model, blended with the one it began with where the recipe says so."""
        agent, start = self._filled(Agent(self.config()), AGENT, "agent."), self.start(AGENT)
        share = self.recipe(AGENT).blend
        if start and share != 1:
            before = Agent(self.config())
            start.fill_agent(before, self.tokenizer())
            with torch.no_grad():
                for now, old in zip(agent.parameters(), before.parameters(), strict=True):
                    now.copy_(old.lerp(now, share))
        return agent

    def _filled(self, module: nn.Module, stage: str, prefix: str) -> nn.Module:
        _, average = load_average(self.folder(stage))
        # Copied out of the mapped checkpoint, which goes away when training goes on.
        state = {key.removeprefix(prefix): t.clone() for key, t in average.items() if key.startswith(prefix)}
        module.load_state_dict(state)
        return module.eval().requires_grad_(False)

    def built_on(self, stage: str) -> dict[str, str]:
        """What tells the parts that a stage learns with from others, trained further or anew."""
        encoder = self._first_encoder if stage == ROBUST_ENCODER else self.vision_encoder
        made: dict[str, Callable[[], nn.Module]] = {ENCODER: encoder, VAE: self.vae, PAINTER: self.unet}
        found = {f"the stage {part!r}": weights_id(made[part]().state_dict()) for part in LEARNS_WITH.get(stage, ())}
        if stage == AGENT:
            words = self.folder(TOKENIZER) / MODEL_FILE
            found[f"the stage {TOKENIZER!r}"] = hashlib.blake2b(words.read_bytes(), digest_size=8).hexdigest()
        return found

    def train(self, name: str, resume: bool, until: int | None, say: Callable[[str], None]) -> None:
        """Train one stage that learns from pages or samples, after those that it needs.

        Args:
            name: of the stage.
            resume: go on where an earlier run in this folder stopped.
            until: stop after this many steps; None goes on to the last.
            say: is told where all steps are done already.

        Raises:
            WeGenError: there is no such stage, its recipe cannot be used, or what it learned with has changed.
        """
        if name in CHECKPOINT_STAGES:
            raise WeGenError(f"{name!r} is a part of a finished checkpoint: train it with --config FILE.")
        recipe, folder = self.recipe(name), self.folder(name)
        if resume and (folder / CHECKPOINT).is_file() and self.done(name) >= recipe.steps:
            require_built_on(folder, self.built_on(name))
            say(f"{name}: {recipe.steps} steps are done")
        else:
            train(self.stage(name), recipe, folder, resume, Rhythm(recipe.save_seconds, recipe.sheet_seconds), until)
        if name == VAE:
            self.measure_vae()

    def done(self, name: str) -> int:
        """How many steps of a stage have been trained."""
        return load_average(self.folder(name))[0]

    def stage(self, name: str) -> Stage:
        """The stage ready to train; stages before it must have been trained. Raises WeGenError."""
        stage = self._stage(name)
        stage.built_on = self.built_on(name)
        return stage

    def options(self, name: str) -> Any:
        """The options of a stage, as its recipe gives them. Raises RecipeError."""
        from .agent import AgentOptions
        from .encoder import EncoderOptions
        from .painter import PainterOptions
        from .robust_encoder import RobustEncoderOptions
        from .tokenizer import TokenizerOptions
        from .vae import VAEOptions
        from .vae_decoder import VAEDecoderOptions

        kinds = {
            TOKENIZER: TokenizerOptions,
            VAE: VAEOptions,
            ENCODER: EncoderOptions,
            ROBUST_ENCODER: RobustEncoderOptions,
            PAINTER: PainterOptions,
            VAE_DECODER: VAEDecoderOptions,
            AGENT: AgentOptions,
        }
        if name not in kinds:
            raise WeGenError(f"There is no stage {name!r} to train; choose one of {', '.join(STAGES)}.")
        return build(kinds[name], self.recipe(name).options, f"{self.file(name)}: options")

    def check(self, stages: Sequence[str]) -> None:
        """See that recipes, models to start from and samples can be used: training that comes first may take hours.

        Raises:
            WeGenError: one cannot be used; it is named.
        """
        for name in stages:
            options = self.options(name)
            if start := self.start(name):
                start.config()
            if name == AGENT and self.data is None:
                try:
                    check_mix(options.tasks)
                except ValueError as error:
                    raise RecipeError(f"{self.file(name)}: tasks: {error}") from error
            elif name == AGENT:
                from .agent import require_pages

                require_pages(self.data, self.sizes().size)

    def check_result(self) -> None:
        """See that what `pack` will replace is nobody else's. Raises WeGenError."""
        require_own_result(self.out / PACKED, any((self.folder(stage) / CHECKPOINT).is_file() for stage in STAGES))

    def _stage(self, name: str) -> Stage:
        options, recipe, config = self.options(name), self.recipe(name), self.config()
        torch.manual_seed(recipe.seed)
        if name == VAE:
            from .vae import VAEStage

            return VAEStage(config, options, recipe.seed, self.start(VAE))
        if name == ENCODER:
            from .encoder import EncoderStage

            return EncoderStage(config, options, recipe.seed, self.start(ENCODER))
        if name == ROBUST_ENCODER:
            from .robust_encoder import RobustEncoderStage

            return RobustEncoderStage(config, options, recipe.seed, self._first_encoder())
        if name == PAINTER:
            from .painter import PainterStage

            wanted = recipe.seed, options.things, *options.shares()
            cache = self._page_cache("pages", (ENCODER, VAE), *wanted)
            parts = self.vision_encoder(), self.vae()
            return PainterStage(config, options, recipe.seed, *parts, cache, self.start(PAINTER))
        if name == VAE_DECODER:
            from .vae_decoder import VAEDecoderStage

            parts = self.vision_encoder(), self.unet(), self.vae()
            wanted = recipe.seed, *options.shares(), options.feature_noise, options.sampler_steps
            cache = self._page_cache("paintings", (ENCODER, VAE, PAINTER), *wanted)
            return VAEDecoderStage(config, options, recipe.seed, *parts, cache)
        from .agent import AgentStage

        parts = self.tokenizer(), self.vision_encoder(), self.reader()
        stage = AgentStage(config, options, recipe.seed, *parts, shards=self.data)
        if start := self.start(AGENT):
            start.fill_agent(stage.agent, self.tokenizer())
        return stage

    def _page_cache(self, name: str, makers: Sequence[str], *options: float) -> Path:
        """Folder for what these stages as they are now make of the pages that these options ask for; what they made as
        they were before is removed."""
        steps = []
        for stage in makers:
            base = self.base()
            stage = ROBUST_ENCODER if stage == ENCODER and self.trains(ROBUST_ENCODER) else stage
            if base is not None and not self.trains(stage):
                part = base.folder / part_file("vision_encoder" if stage == ENCODER else stage)
                steps.append(f"{stage}-{part.stat().st_mtime_ns:x}")
                continue
            done, _ = load_average(self.folder(stage))
            # One that was trained anew to as many steps is another.
            steps.append(f"{stage}-{done}-{(self.folder(stage) / CHECKPOINT).stat().st_mtime_ns:x}")
        folder = self.out / name / "-".join([*steps, *map(str, options)])
        for other in folder.parent.glob(f"*{ENCODER}-*"):  # and nothing else that somebody has there
            if other != folder:
                shutil.rmtree(other)
        return folder

    def learn_words(self) -> Tokenizer:
        """Make the tokenizer, unless it is there already. A recipe that starts from a model and has no options takes
        that model's."""
        from .tokenizer import train_tokenizer

        folder = self.folder(TOKENIZER)
        if (folder / ADDED_FILE).is_file():
            return self.tokenizer()
        start = self.start(TOKENIZER)
        if start and not self.recipe(TOKENIZER).options:
            folder.mkdir(parents=True, exist_ok=True)
            for name in (MODEL_FILE, ADDED_FILE):
                replace_file(folder / name, (start.folder / name).read_bytes())
            return self.tokenizer()
        options, tasks = self.options(TOKENIZER), self.options(AGENT).tasks
        sizes = self.sizes()
        return train_tokenizer(options, tasks, folder, sizes.tokens_per_picture, sizes.templates.spoken())

    def measure_vae(self) -> None:
        """Write down the scale and the rough colours of the latents that the trained VAE makes."""
        from .vae import measure

        values = measure(self.vae(), self.recipe(VAE).seed)
        replace_file(self.folder(VAE) / MEASURED, (json.dumps(values, indent=1) + "\n").encode())

    def pack(self, finish: Callable[[Path], None] | None = None) -> Path:
        """Write the packed folder from the averaged weights of all stages, all in fp16; one that is there stays until
        the new one is whole.

        Args:
            finish: what is still to be done to the new folder.

        Raises:
            WeGenError: a stage learned with parts that are others by now, or the folder there is somebody's own.
        """
        require_own_result(self.out / PACKED, begun=True)  # it may have come since `check_result`
        for stage in filter(self.trains, LEARNS_WITH):
            require_built_on(self.folder(stage), self.built_on(stage))
        packed = self.out / PACKED
        with taking_place_of(packed) as folder:
            folder.mkdir(parents=True)
            self._write_into(folder)
            if finish is not None:
                finish(folder)
        return packed

    def _write_into(self, folder: Path) -> None:
        base = self.base()
        make = {
            "vision_encoder": (ENCODER, self.vision_encoder),
            "language_model": (AGENT, self.agent),
            "unet": (PAINTER, self.unet),
            "vae": (VAE, self.finished_vae),
        }
        trained = {stage for stage, _ in make.values() if base is None or self.trains(stage)}
        trained |= {part for part, then in ((VAE, VAE_DECODER), (ENCODER, ROBUST_ENCODER)) if self.trains(then)}
        parts = {name: part() for name, (stage, part) in make.items() if stage in trained}
        if base is not None:
            for name in make.keys() - parts.keys():
                replace_file(folder / part_file(name), (base.folder / part_file(name)).read_bytes())
        for name, module in parts.items():
            _save_part(module.state_dict(), folder / part_file(name))
        words = self.folder(TOKENIZER) if base is None or self.trains(TOKENIZER) else base.folder
        for name in (MODEL_FILE, ADDED_FILE):
            replace_file(folder / name, (words / name).read_bytes())
        replace_file(folder / CONFIG_FILE, self.config().to_json().encode())


def _save_part(state: Mapping[str, Tensor], path: Path) -> None:
    write_safetensors(path, {key: value.to(torch.float16).contiguous() for key, value in sorted(state.items())})
