"""WeGen Ask."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..models.encoding import encode_reference
from ..models.errors import WeGenError
from ..models.prompting.asking import ask
from ..models.prompting.conversation import ask_prompt
from .host.bundle import progress
from .host.parts import LOOKING, memory_errors
from .inputs import references, require_wired, text, wegen
from .sockets import CATEGORY, ChatType


class WeGenAsk(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenAsk",
            display_name="WeGen Ask",
            category=CATEGORY,
            description="Answers questions about a picture, references or a chat: what is there, where, how many.",
            is_output_node=True,
            search_aliases=["wegen caption", "describe image", "vqa", "vlm", "llm", "chat"],
            inputs=[
                wegen(),
                io.String.Input(
                    "question",
                    multiline=True,
                    default="what is in the picture?",
                    tooltip="@name means a reference.",
                ),
                io.Image.Input("image", optional=True, tooltip="Each picture of a batch is asked about by itself."),
                references("Pictures that the question is about, from WeGen Encode Reference. @name means one."),
                ChatType.Input("chat", optional=True, tooltip="Earlier turns, to ask about what was drawn."),
            ],
            outputs=[io.String.Output(display_name="answers", is_output_list=True)],
        )

    @classmethod
    def execute(cls, wegen, question, image=None, references=None, chat=None) -> io.NodeOutput:
        require_wired(wegen=wegen)
        text("question", question)
        references, chat = wegen.read_references(references), wegen.read(chat)
        if image is None and not references and not chat.turns:
            raise WeGenError("There is nothing to ask about: connect image, references or chat.")
        subjects = [references]
        if image is not None:
            if not len(image):
                raise WeGenError("There is no picture to ask about: the batch is empty.")
            taken = {reference.name for reference in references}
            name = next(f"picture{n or ''}" for n in range(len(taken) + 1) if f"picture{n or ''}" not in taken)
            with memory_errors(LOOKING, wegen.formats):
                vision, step, subjects = wegen.load_vision(1), progress(), []
                for number, picture in enumerate(image, start=1):
                    subjects.append(references.add(encode_reference(vision, name, picture)))
                    step(number, len(image))
        limit = wegen.config.templates.rewrite_limit
        answers = []
        for subject in subjects:
            prompt = ask_prompt(wegen.config, wegen.tokenizer, question, subject, chat, limit)
            with memory_errors("answering a question", wegen.formats):
                model = wegen.load_language(1, prompt.tokens(wegen.tokenizer) + limit)
                answers.append(ask(model, question, subject, chat, limit, progress()))
        return io.NodeOutput(answers, ui=ui.PreviewText("\n\n".join(answers)))
