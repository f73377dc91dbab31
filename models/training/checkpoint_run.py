"""Training a finished checkpoint on: whole, or a LoRA beside it, from one recipe and folders of shards."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..bundled import BUNDLED
from ..checkpoints import doctor
from ..checkpoints.loading import fill
from ..checkpoints.lora import BASE, base_of, write_lora
from ..checkpoints.memory_needs import GIB
from ..checkpoints.quantise import WEIGHT, to_header
from ..checkpoints.reader import Checkpoint, Part, StoredTensor, open_checkpoint, part_id
from ..checkpoints.writer import Entry, PartLayout, new_folder, write_folder
from ..errors import WeGenError, is_out_of_memory
from ..network.agent import Agent
from ..network.decoder import empty_decoder
from ..network.vision_encoder import VisionEncoder
from ..paths import LONGEST_FILE_NAME, expanded, taking_place_of
from .adapters import LoraOptions, add_adapters, changes_of, fill_frozen, has_adapters
from .distributed import is_chief, require_tracker
from .language_stage import LanguageOptions, LanguageStage
from .loop import Rhythm, train
from .memory import lora_memory
from .recipe import CHECKPOINT_STAGES, UNET, Recipe, RecipeError, build, read_recipe
from .run_state import CHECKPOINT, load_average, require_built_on, require_new, require_own_result
from .sources import Mixture
from .stage import Stage
from .unet_stage import UNetOptions, UNetStage

PACKED = "packed"
ATTRIBUTES = {"unet": "unet", "language_model": "agent"}
"""What the part that is trained is called in its stage."""
MEMORY_OPTIONS = {"unet": "size", "language_model": "tokens"}
"""The option of a stage by which it takes less memory."""


@dataclass(frozen=True)
class CheckpointRun:
    """One recipe of a stage of `CHECKPOINT_STAGES`.

    Attributes:
        file: the recipe.
        out: folder of the run; checkpoint, log and results are in it, below the stage's name.
    """

    file: Path
    out: Path

    @property
    def recipe(self) -> Recipe:
        recipe = read_recipe(self.file)
        if recipe.stage not in CHECKPOINT_STAGES:
            raise RecipeError(f"{self.file} is of the stage {recipe.stage!r}, not of a finished checkpoint.")
        return recipe

    @property
    def folder(self) -> Path:
        return self.out / self.recipe.stage

    def checkpoint(self) -> Checkpoint:
        """The checkpoint that is trained on."""
        named = self.recipe.checkpoint
        return open_checkpoint((self.file.parent / expanded(named)).resolve() if named else BUNDLED)

    def lora(self) -> LoraOptions | None:
        """None where all weights are trained."""
        values = self.recipe.lora
        return None if values is None else build(LoraOptions, values, f"{self.file}: lora")

    def memory(self) -> int | None:
        """Bytes of a device's memory that are counted for it; None where all weights are trained, or where what is
        computed in between is kept rather than computed again, which is not counted."""
        recipe, config, lora = self.recipe, self.checkpoint().config, self.lora()
        if lora is None or not recipe.recompute:
            return None
        if recipe.stage == UNET:
            size = self.options().size or config.size
            one = lora_memory(config, recipe.stage, lora, size=size)
            return one.total + one.activations * (recipe.batch - 1)
        tokens = self.options().tokens
        keep = any(entry.get("keep") for entry in recipe.data)
        return lora_memory(config, recipe.stage, lora, tokens=tokens or config.language.context_length, keep=keep).total

    def memory_doubt(self) -> str:
        """What to say before weights are read where memory may not be enough; empty where it is."""
        counted, here = self.memory(), doctor.machine()
        there = here.card or here.memory
        if counted is None or counted <= there * GIB:
            return ""
        stage = self.recipe.stage
        return (
            f"{stage}: {counted / GIB:.1f} GB of memory are counted for this training, and "
            f"{'the card' if here.card else 'the machine'} has {there:.1f}. It is tried all the same; with a smaller "
            f"{MEMORY_OPTIONS[stage]!r} in 'options' of {self.file} it takes less."
        )

    def train(self, resume: bool, until: int | None, say: Callable[[str], None], warn: Callable[[str], None]) -> None:
        """Train the part of a run that `check` has passed, and write what came of it.

        Args:
            resume: go on where an earlier run in this folder stopped.
            until: stop after this many steps; None goes on to the last.
            say: is told what is done, and where it is.
            warn: is told where memory may not be enough.

        Raises:
            WeGenError: the recipe cannot be used, what an earlier run learned with has changed, or memory ran out.
        """
        recipe, folder = self.recipe, self.folder
        if is_chief() and (doubt := self.memory_doubt()):
            warn(doubt)
        if not resume:
            require_new(folder)
        stage = self.stage()
        if resume and (folder / CHECKPOINT).is_file() and self.done() >= recipe.steps:
            require_built_on(folder, stage.built_on)
            average = load_average(folder)[1]
            say(f"{recipe.stage}: {recipe.steps} steps are done")
        else:
            rhythm = Rhythm(recipe.save_seconds, recipe.sheet_seconds)
            try:
                average = train(stage, recipe, folder, resume, rhythm, until)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                raise WeGenError(
                    f"Memory ran out in training the {recipe.stage}. Less is needed with a smaller 'batch', a smaller "
                    f"{MEMORY_OPTIONS[recipe.stage]!r} in 'options', or \"recompute\": true, all in {self.file}. "
                    f"--resume goes on; with `wegen train lora` --stage trains one part alone. ({error})"
                ) from error
        if is_chief():
            result, done = self.export(stage, average), self.done()
            if done < recipe.steps:
                result = (
                    f"{result or 'no packed folder yet'}, unfinished: {done} of {recipe.steps} steps. --resume goes on"
                )
            say(f"{recipe.stage}: {result}")

    def options(self) -> Any:
        """`UNetOptions` or `LanguageOptions`, as the recipe gives them. Raises RecipeError."""
        kind = UNetOptions if self.recipe.stage == UNET else LanguageOptions
        return build(kind, self.recipe.options, f"{self.file}: options")

    def check(self) -> None:
        """See that the recipe and what it names can be used, before weights are read. Raises WeGenError."""
        recipe, checkpoint, lora = self.recipe, self.checkpoint(), self.lora()
        self.options()
        require_tracker(recipe)
        if lora is not None and lora.dtype != torch.float32 and recipe.precision == "no":
            raise RecipeError(
                f'{self.file}: a base of {lora.base!r} is computed with in "precision": "bf16", not "no".'
            )
        if lora is None and checkpoint.folder.resolve() == self._packed.resolve():
            raise RecipeError(
                f"{self.file}: the result would be written over the checkpoint that is trained, {checkpoint.folder}. "
                "Choose another --out."
            )
        if lora is None:
            require_own_result(self._packed, begun=(self.folder / CHECKPOINT).is_file())
        if lora is not None and (length := len(os.fsencode(self._lora_file.name))) > LONGEST_FILE_NAME:
            raise RecipeError(
                f"{self.file}: the file of the LoRA, {self._lora_file.name}, has a name of {length} bytes, and "
                f"{LONGEST_FILE_NAME} are allowed. Give a shorter 'name'."
            )
        self._mixture([*recipe.data, *recipe.held_out])

    def stage(self) -> Stage:
        """The stage of a run that `check` has passed, ready to train. Raises WeGenError."""
        recipe, checkpoint, lora = self.recipe, self.checkpoint(), self.lora()
        data = self._mixture(recipe.data)
        held_out = self._mixture(recipe.held_out) if recipe.held_out else None
        torch.manual_seed(recipe.seed)
        config, options, device = checkpoint.config, self.options(), torch.device("cpu")
        with torch.device("meta"):
            vision_encoder = VisionEncoder(config.vision)
        fill_frozen(vision_encoder, checkpoint.vision_encoder, lora or LoraOptions(base="fp32"))
        if recipe.stage == UNET:
            unet, vae = empty_decoder(config)
            unet = self._trainable(unet, checkpoint, lora)
            vae = fill(vae, checkpoint.vae, device, torch.float32)
            stage: Stage = UNetStage(config, options, recipe.seed, vision_encoder, vae, unet, data, held_out)
        else:
            with torch.device("meta"):
                agent = Agent(config)
            agent = self._trainable(agent, checkpoint, lora)
            stage = LanguageStage(
                config, options, recipe.seed, checkpoint.tokenizer, vision_encoder, agent, data, held_out
            )
        stage.built_on = self._built_on(checkpoint, lora)
        return stage

    def _built_on(self, checkpoint: Checkpoint, lora: LoraOptions | None) -> dict[str, Any]:
        """The parts of the checkpoint that have a say in what is learned, and how strong a LoRA is."""
        names = ["vision_encoder", self.recipe.stage, *(["vae"] if self.recipe.stage == UNET else [])]
        found: dict[str, Any] = {f"{name} of the checkpoint": part_id(checkpoint.parts[name]) for name in names}
        if lora is not None:
            found["alpha of the LoRA"] = float(lora.rank if lora.alpha is None else lora.alpha)
        return found

    def _mixture(self, entries) -> Mixture:
        return Mixture.of(entries, self.file.parent, self.recipe.seed, str(self.file))

    def _trainable(self, module: nn.Module, checkpoint: Checkpoint, lora: LoraOptions | None) -> nn.Module:
        part = checkpoint.parts[self.recipe.stage]
        if lora is not None:
            return add_adapters(fill_frozen(module, part, lora), lora)
        # Trained weights are held in 32 bits, also those that were quantised; `precision` says what is computed in.
        part.check(module)
        state = {key: part[key].to(torch.float32) for key in part}
        module.load_state_dict(state, assign=True)
        return module.eval().requires_grad_(True)

    def done(self) -> int:
        """How many steps have been trained."""
        return load_average(self.folder)[0]

    def export(self, stage: Stage, average: Mapping[str, Tensor]) -> Path | None:
        """Write what was trained: a LoRA file, which says after how many steps, or the packed folder of the checkpoint
        with the new part in it.

        Args:
            stage: as it was trained.
            average: the weights that `train` gave.

        Returns:
            The file or folder; None before the last step where it would be a packed folder, which does not tell that it
            is unfinished.
        """
        recipe = self.recipe
        attribute = ATTRIBUTES[recipe.stage]
        module = getattr(stage, attribute)
        values = {name.removeprefix(f"{attribute}."): value for name, value in average.items()}
        if has_adapters(module):
            checkpoint = self.checkpoint()
            about = {"wegen_model": checkpoint.config.name, "wegen_steps": str(self.done())}
            about[BASE] = base_of(checkpoint.parts[recipe.stage])
            return write_lora(self._lora_file, recipe.stage, changes_of(module, values), about)
        return self._pack(values) if self.done() >= recipe.steps else None

    @property
    def _lora_file(self) -> Path:
        """The file of a LoRA that was trained."""
        return self.out / f"{self.recipe.name or self.file.stem}_{self.recipe.stage}.safetensors"

    @property
    def _packed(self) -> Path:
        """The folder of a checkpoint whose part was trained."""
        return self.out / f"{PACKED}-{self.recipe.stage}"

    def _pack(self, values: Mapping[str, Tensor]) -> Path:
        """Write the checkpoint with the new part in it, and all others as they are stored."""
        checkpoint, stage = self.checkpoint(), self.recipe.stage
        parts: dict[str, dict[str, StoredTensor]] = {
            name: {piece: stored for key in part for piece, stored in _stored(part, key).items()}
            for name, part in checkpoint.parts.items()
        }
        layouts = {
            name: PartLayout(
                [Entry(key, stored.dtype, stored.shape) for key, stored in parts[name].items()],
                to_header({layer: entry.layer for layer, entry in part.quantised.items() if entry.layer}),
            )
            for name, part in checkpoint.parts.items()
        }
        dtype = _precision(checkpoint.parts[stage], values)
        layouts[stage] = PartLayout([Entry(key, dtype, tuple(value.shape)) for key, value in values.items()])

        def tensors(part: str) -> Iterator[Tensor]:
            if part == stage:
                return (value.detach().cpu().to(dtype) for value in values.values())
            return (stored.read() for stored in parts[part].values())

        packed = self._packed.absolute()
        require_own_result(packed, begun=True)  # it may have come meanwhile
        with taking_place_of(packed) as fresh:
            write_folder(new_folder(fresh), checkpoint.config, checkpoint.tokenizer, layouts, tensors)
        return packed


def _stored(part: Part, key: str) -> Mapping[str, StoredTensor]:
    """The tensors that stand for `key` in a file: itself, or the pieces of a quantised weight."""
    entry = part.stored[key]
    return (
        {key: entry} if entry.layer is None else {f"{key[: -len(WEIGHT)]}{end}": p for end, p in entry.pieces.items()}
    )


def _precision(part: Part, values: Mapping[str, Tensor]) -> torch.dtype:
    """That in which a part was stored, or bf16 where it was quantised, or has grown beyond what fp16 holds."""
    if part.quantised:
        return torch.bfloat16
    [(dtype, _)] = Counter(entry.dtype for entry in part.stored.values()).most_common(1)
    largest = max(float(value.detach().abs().max()) for value in values.values())
    fits = dtype in (torch.bfloat16, torch.float32) or (
        dtype == torch.float16 and largest <= torch.finfo(torch.float16).max
    )
    return dtype if fits else torch.bfloat16
