"""WeGen Rewrite Prompt."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..models.errors import AnsweredInWords, WeGenError
from ..models.options import OPTIONS
from ..models.prompting.conversation import mentioned, rewrite_prompt
from ..models.prompting.rewriting import descriptions, report, rewrite, rows_held
from ..models.prompting.text_sampling import TextSampling
from ..models.values import References
from .host.bundle import progress
from .host.messages import NOTHING, answered_in_words
from .host.parts import memory_errors
from .inputs import (
    inputs,
    instruction,
    references,
    require_numbers,
    require_whole_numbers,
    require_wired,
    seed,
    text,
    wegen,
)
from .sockets import CATEGORY, ChatType


class WeGenRewritePrompt(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenRewritePrompt",
            display_name="WeGen Rewrite Prompt",
            category=CATEGORY,
            description="Lets the model turn a vague wish into detailed descriptions, each with its own seed.",
            is_output_node=True,
            search_aliases=["prompt enhancer", "prompt expansion", "wegen rewrite", "llm"],
            inputs=[
                wegen(),
                instruction("What you wish for; vague is fine."),
                seed(
                    "Of the words: the same seed and inputs give the same ones. The first rewrite uses the seed, the "
                    "next one seed + 1, and so on."
                ),
                io.Int.Input(
                    "count",
                    default=1,
                    min=1,
                    max=OPTIONS["batch_size"].maximum,
                    tooltip="How many rewrites. The first uses the seed, the next one seed + 1.",
                ),
                *inputs("creativity"),
                io.Int.Input(
                    "max_tokens",
                    default=0,
                    min=0,
                    max=4096,
                    optional=True,
                    advanced=True,
                    tooltip="Longest rewrite in tokens. 0 takes what the checkpoint says.",
                ),
                io.Float.Input(
                    "temperature",
                    default=-1.0,
                    min=-1.0,
                    max=5.0,
                    step=0.05,
                    optional=True,
                    advanced=True,
                    tooltip="Sampling temperature; 0 always takes the likeliest word. -1 follows the creativity.",
                ),
                io.Float.Input(
                    "top_p",
                    default=-1.0,
                    min=-1.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    advanced=True,
                    tooltip="Nucleus sampling: only the likeliest words up to this total probability. -1 follows the "
                    "creativity.",
                ),
                references(),
                ChatType.Input("chat", optional=True, tooltip="Earlier turns that the rewrite should fit."),
            ],
            outputs=[
                io.String.Output(display_name="rewrites", is_output_list=True),
                io.String.Output(
                    display_name="report", tooltip="What the descriptions leave out or repeat; empty when all is well."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        wegen,
        instruction,
        seed,
        count,
        creativity,
        max_tokens=0,
        temperature=-1.0,
        top_p=-1.0,
        references=None,
        chat=None,
    ) -> io.NodeOutput:
        require_wired(wegen=wegen)
        text("instruction", instruction)
        require_whole_numbers(seed=seed, count=count, max_tokens=max_tokens)
        require_numbers(creativity=creativity, temperature=temperature, top_p=top_p)
        most = OPTIONS["batch_size"].maximum
        if not 1 <= count <= most:
            raise WeGenError(f"{count} rewrites were asked for; set 1 or more, at most {most}.")
        references, note = mentioned(instruction, references or References())
        references, chat = wegen.read_references(references), wegen.read(chat)
        limit = max_tokens or wegen.config.templates.rewrite_limit
        sampling = TextSampling.from_creativity(
            creativity, None if temperature < 0 else temperature, None if top_p < 0 else top_p
        )
        prompt = rewrite_prompt(wegen.config, wegen.tokenizer, chat, instruction, references, limit)
        with memory_errors("writing rewrites", wegen.formats):
            written = rewrite(
                wegen.load_language(rows_held(count), prompt.tokens(wegen.tokenizer) + limit),
                instruction,
                [seed + k for k in range(count)],
                sampling,
                references,
                chat,
                limit,
                progress(),
            )
        try:
            texts = [one.text or instruction.strip() for one in descriptions(written)]
        except AnsweredInWords as answer:
            return answered_in_words(answer, [NOTHING], str(answer))
        said = "\n".join(filter(None, [report([one for one in written if not one.spoken]), note]))
        return io.NodeOutput(texts, said, ui=ui.PreviewText("\n\n".join(filter(None, [said, *texts]))))
