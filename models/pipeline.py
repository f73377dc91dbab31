"""WeGen without ComfyUI: encode references, rewrite, generate and refine from plain Python."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from .checkpoints.loading import load_wegen
from .checkpoints.lora import check_strength, merge, read_lora
from .checkpoints.reader import open_checkpoint
from .checkpoints.wegen import WeGen
from .editing.refinement import Masks
from .encoding import begin_with, encode_reference, look_at, with_features
from .engine import Progress, Selection, TurnRequest, TurnResult, select, take_turn
from .errors import AnsweredInWords, WeGenError, WeGenWarning
from .media.images import flatten_alpha, from_pil
from .painting.diffusers_painter import Decoder, DiffusersPainter
from .painting.loading import open_decoder
from .painting.painter import PaintJob
from .prompting.decoding import OnStep
from .prompting.rewriting import descriptions, rewrite
from .prompting.text_sampling import TextSampling
from .values import Chat, Reference, References, SamplerSettings, only_small_copies

OnPaintStep = Callable[[int, int, Tensor], None]


@dataclass(frozen=True)
class _Painter:
    """Paints with a pipeline's decoder, for which a turn that is answered in words has no use."""

    pipeline: Pipeline
    on_step: OnPaintStep | None

    def paint(self, job: PaintJob) -> Tensor:
        """See `Painter`."""
        return DiffusersPainter(self.pipeline.decoder, self.on_step).paint(job)


class Pipeline:
    """One WeGen and its decoder, headless.

    The decoder of `from_folder` is read when it is first used: asking and writing do without it.
    `progress` of the methods tells how far the language model is, `on_step` is called with sampler steps done and to do
    and the current guess of the latent; whatever they raise stops the work.
    """

    def __init__(self, wegen: WeGen, decoder: Decoder | Callable[[], Decoder]):
        """`decoder` may be a function that gives it, always the same one."""
        self.wegen = wegen
        self.config = wegen.config
        self._decoder = decoder

    @property
    def decoder(self) -> Decoder:
        """The UNet and the VAE, read now where they were not used before.

        Raises:
            CheckpointError: its files are gone, were changed since the checkpoint was opened, or cannot be read.
        """
        return self._decoder if isinstance(self._decoder, Decoder) else self._decoder()

    @classmethod
    def from_folder(
        cls, folder: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
    ) -> Pipeline:
        """Load a packed or published checkpoint folder. Of the decoder only names and shapes are read and checked.

        Args:
            folder: of the checkpoint.
            device: where all parts are put.
            dtype: precision of all parts but the VAE, which stays in float32.

        Raises:
            WeGenError: a device that this machine does not have.
            CheckpointError: no such checkpoint, or one that cannot be used.
            ImportError: diffusers is not installed.
        """
        try:
            torch.zeros(1, device=device).item()  # `item` fails on a device that computes nothing, such as "meta"
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise WeGenError(f"The device {str(device)!r} cannot be used: {reason}") from error
        checkpoint = open_checkpoint(folder)
        decoder = open_decoder(checkpoint, device, dtype)
        return cls(load_wegen(checkpoint, device, dtype), decoder)

    def with_loras(self, files: Mapping[str | Path, float]) -> Pipeline:
        """This pipeline with LoRA files added to its own weights, for good; or unchanged, where one cannot be added.

        With one of the language model it takes any words, as one of open language: what a closed world knows says
        nothing about what was learned since. Warns where one was trained beside other weights.

        Args:
            files: of the UNet or the language model, as `wegen train lora` writes them, each with its strength.

        Raises:
            WeGenError: a strength out of range (-100 to 100).
            LoraError: a file that cannot be read or is of another model.
            CheckpointError: the decoder cannot be read, see `decoder`.
        """
        wegen = self.wegen
        loras = [(read_lora(file), check_strength(strength)) for file, strength in files.items()]
        parts = {lora.part: self.decoder.unet if lora.part == "unet" else wegen.agent for lora, _ in loras}
        for lora, _ in loras:
            lora.by_layer(parts[lora.part])  # raises before the first of them is added
            if doubt := lora.doubt(parts[lora.part].state_dict()):
                warnings.warn(doubt, WeGenWarning, stacklevel=2)
        for lora, strength in loras:
            merge(parts[lora.part], lora, strength)
            if lora.part != "unet" and strength:
                wegen = wegen.with_open_language()
                if wegen.prefixes is not None:
                    wegen.prefixes.clear()  # what it holds is of the weights before
        return Pipeline(wegen, self._decoder)

    def encode_reference(
        self, name: str, picture: Image.Image, mask: Tensor | None = None, weight: float = 1.0
    ) -> Reference:
        """A named reference from a PIL picture.

        Args:
            name: how instructions mention it: a letter, then letters, digits, '_' or '-', 32 at most.
            picture: of any size and mode; transparent parts are laid on white.
            mask: `[h, w]` in 0..1, white where the object is; None is the whole picture.
            weight: how strongly its features speak, from 0 to 2.

        Raises:
            WeGenError: colours that cannot be brought to RGB, besides what `encoding.encode_reference` raises.
        """
        return encode_reference(self.wegen, name, from_pil(flatten_alpha(picture)), mask, weight)

    def begin_with(self, *pictures: Image.Image) -> Chat:
        """A chat that begins with pictures of the user's own; it goes on with the first of them.

        Raises:
            WeGenError: there is no picture, its colours cannot be brought to RGB, or the vision encoder overflowed.
        """
        return begin_with(self.wegen, [from_pil(picture) for picture in pictures])

    def rewrite(
        self,
        instruction: str,
        seeds: Sequence[int],
        sampling: TextSampling,
        references: References | None = None,
        chat: Chat | None = None,
        on_token: OnStep | None = None,
    ) -> list[str]:
        """One detailed rewrite of `instruction` for each seed; `rewriting.rewrite` tells more about each.

        Args:
            instruction: what the user wishes, with `@name` for references.
            seeds: one rewrite for each.
            sampling: temperature and top-p.
            references: what can be mentioned.
            chat: the turns before.
            on_token: called after each token; what it raises stops the work.

        Raises:
            WeGenError: an empty instruction, no seeds, an unknown `@name`, an order on a picture where the checkpoint
                has no template `edit_rewrite`, a picture that cannot be looked at (see `encoding.look_at`), features
                that another checkpoint made, more tokens than the context holds, or the language model overflowed.
            AnsweredInWords: the model answers in words that it draws nothing.
        """
        chat, references = look_at(self.wegen, chat or Chat()), with_features(self.wegen, references or References())
        written = rewrite(self.wegen, instruction, seeds, sampling, references, chat, on_token=on_token)
        return [one.text for one in descriptions(written)]

    def take_turn(
        self,
        request: TurnRequest,
        chat: Chat | None = None,
        progress: Progress = Progress(),  # noqa: B008 - immutable
        on_step: OnPaintStep | None = None,
    ) -> TurnResult:
        """The next turn of a chat, or the first one: `engine.take_turn` with diffusers as the painter.

        Raises:
            WeGenError: a sampler or scheduler that only ComfyUI has, besides what `engine.take_turn` raises.
            CheckpointError: the decoder cannot be read, see `decoder`.
            AnsweredInWords: the model answers a first wish in words and draws nothing.
        """
        return take_turn(request, chat or Chat(), _Painter(self, on_step), self.wegen, progress)

    def generate(
        self,
        instruction: str,
        seeds: Sequence[int] = (0,),
        references: References | None = None,
        settings: SamplerSettings | None = None,
        size: tuple[int, int] | None = None,
        progress: Progress = Progress(),  # noqa: B008 - immutable
        on_step: OnPaintStep | None = None,
        **options,
    ) -> Chat:
        """The first turn of a chat.

        Args:
            instruction: what to draw, with `@name` for references.
            seeds: one picture for each.
            references: what can be mentioned.
            settings: steps, guidance and the like; default what the checkpoint is best with.
            size: width and height in pixels; default the checkpoint's own.
            progress, on_step: see the class.
            options: `rewrite`, `creativity`, `sampling` and `prompt_override` of `engine.TurnRequest`.

        `take_turn` gives the same chat, and beside it what there is to say of it: `TurnResult.notes`.

        Raises:
            WeGenError: what `engine.TurnRequest` refuses, besides what `take_turn` raises.
            CheckpointError, AnsweredInWords: see `take_turn`.
        """
        request = TurnRequest(
            instruction,
            tuple(seeds),
            references or References(),
            size=size,
            settings=settings or SamplerSettings(),
            **options,
        )
        return self.take_turn(request, None, progress, on_step).chat

    def refine(
        self,
        chat: Chat,
        instruction: str,
        seeds: Sequence[int] = (0,),
        edit_mask: Tensor | None = None,
        keep_mask: Tensor | None = None,
        references: References | None = None,
        settings: SamplerSettings | None = None,
        release: bool = False,
        progress: Progress = Progress(),  # noqa: B008 - immutable
        on_step: OnPaintStep | None = None,
        **options,
    ) -> Chat:
        """The next turn: change what the instruction says, and nothing outside the masks.

        Args:
            chat: has at least one turn; the picture that it goes on with is the one refined.
            instruction: what to change.
            seeds: one picture for each.
            edit_mask: `[h, w]` in 0..1, white may change; it is stretched to the picture's size.
            keep_mask: likewise, white stays to the bit, in later turns too.
            references, settings, progress, on_step, options: as for `generate`. Without an edit mask
                `settings.auto_mask` decides whether the predicted edit mask is used.
            release: give up what keep masks of earlier turns have kept.

        Raises:
            WeGenError: the chat has no turns yet, or what `engine.TurnRequest` refuses, besides what `take_turn`
                raises.
            CheckpointError: see `take_turn`.
            AnsweredInWords: the model answers in words and changes nothing.
        """
        chat.require_turn()
        request = TurnRequest(
            instruction,
            tuple(seeds),
            references or References(),
            masks=Masks(edit_mask, keep_mask, release),
            settings=settings or SamplerSettings(),
            **options,
        )
        result = self.take_turn(request, chat, progress, on_step)
        if result.spoken:
            raise AnsweredInWords(result.spoken)
        return result.chat

    def select(
        self,
        chat: Chat,
        things: str,
        seed: int = 0,
        progress: Progress = Progress(),  # noqa: B008 - immutable
        on_step: OnPaintStep | None = None,
    ) -> Selection:
        """A mask of what somebody names in the picture that a chat goes on with, as to keep it in the next turn.

        Args:
            chat: has at least one turn; it stays as it is.
            things: what is looked for, such as "the red house".
            seed: of the picture that is painted without it.
            progress, on_step: see the class.

        Raises:
            WeGenError, AnsweredInWords: see `engine.select`.
            CheckpointError: see `take_turn`.
        """
        return select(things, chat, _Painter(self, on_step), self.wegen, seed, progress)

    def replay(
        self,
        chat: Chat,
        progress: Progress = Progress(),  # noqa: B008 - immutable
        on_step: OnPaintStep | None = None,
    ) -> Chat:
        """The same chat made anew, from its instructions, rewrites, references, masks, seeds and settings.

        On the model that made it the pictures are the same. Pictures that the user brought or that another model
        painted are taken as they are.

        Raises:
            WeGenError: only a small copy of such a picture was kept, besides what `take_turn` raises.
            CheckpointError: see `take_turn`.
        """
        again = Chat()
        for turn in chat.turns:
            if turn.is_upload or turn.is_foreign:
                if turn.answer.reduced_from:
                    raise WeGenError(f"This chat cannot be made anew: {only_small_copies(chat)}")
                again = again.add(turn)
                continue
            height, width = turn.answer.size
            request = TurnRequest(
                turn.instruction,
                tuple(answer.seed for answer in turn.answers),
                turn.references,
                prompt_override=tuple(answer.rewrite for answer in turn.answers),
                size=(width, height),
                masks=Masks(turn.edit_mask, turn.keep_mask, turn.released),
                settings=turn.settings,
            )
            again = self.take_turn(request, again, progress, on_step).chat.pick(turn.picked)
        return again
