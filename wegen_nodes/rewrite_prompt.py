"""WeGen Rewrite Prompt."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..models.chat import Chat, References
from ..models.conversation import rewrite_prompt
from ..models.generation import Sampling
from ..models.rewriting import rewrite
from .host.bundle import progress
from .types import CATEGORY, ChatType, creativity, instruction, references, seed, wegen


class WeGenRewritePrompt(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenRewritePrompt",
            display_name="WeGen Rewrite Prompt",
            category=CATEGORY,
            description="Lets the model turn a vague wish into detailed descriptions, each with its own seed.",
            search_aliases=["prompt enhancer", "prompt expansion", "wegen rewrite"],
            inputs=[
                wegen(),
                instruction("What you wish for; vague is fine."),
                seed(),
                io.Int.Input("count", default=1, min=1, max=64, tooltip="How many rewrites; rewrite k uses seed + k."),
                creativity(),
                io.Int.Input(
                    "max_tokens",
                    default=0,
                    min=0,
                    max=4096,
                    optional=True,
                    advanced=True,
                    tooltip="Longest rewrite in tokens. 0 takes what the checkpoint says.",
                ),
                references(),
                ChatType.Input("chat", optional=True, tooltip="Earlier turns that the rewrite should fit to."),
            ],
            outputs=[io.String.Output(display_name="rewrites", is_output_list=True)],
        )

    @classmethod
    def execute(
        cls, wegen, instruction, seed, count, creativity, max_tokens=0, references=None, chat=None
    ) -> io.NodeOutput:
        references, chat = references or References(), chat or Chat()
        limit = max_tokens or wegen.config.templates.rewrite_limit
        prompt = rewrite_prompt(wegen.config, wegen.tokenizer, chat, instruction, references)
        texts = rewrite(
            wegen.writing(count, prompt.tokens(wegen.tokenizer) + limit),
            instruction,
            [seed + k for k in range(count)],
            Sampling.from_creativity(creativity),
            references,
            chat,
            limit,
            progress(),
        )
        return io.NodeOutput(texts, ui=ui.PreviewText("\n\n".join(texts)))
