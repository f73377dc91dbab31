"""What nodes say of inputs, with stand-ins for the host; `tests/host` runs them inside it."""

import ntpath
import posixpath
from importlib import import_module
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch
from comfyui_wegen.models.checkpoints.quantise import INT8, W4A8
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.values import Answer, Chat, Reference, References, Turn
from support import nodes_without_host

HOST = [
    "comfy",
    *(f"comfy.{name}" for name in ("lora", "model_management", "model_patcher", "patcher_extension", "sample")),
    *(f"comfy.{name}" for name in ("latent_formats", "ops", "quant_ops", "samplers", "sd", "utils", "weight_adapter")),
    "comfy.ldm.models.autoencoder",
    "comfy.ldm.modules.diffusionmodules.openaimodel",
    "comfy.weight_adapter.lora",
    "comfy_execution",
    "comfy_execution.graph_utils",
    "comfy_execution.utils",
    "folder_paths",
    "latent_preview",
    "server",
]
PICTURE = torch.zeros(1, 32, 32, 3)


@pytest.fixture(scope="module")
def nodes():
    """A module of `wegen_nodes` by its name."""
    stand_ins = {name: MagicMock() for name in HOST}
    io = MagicMock(ComfyNode=type("ComfyNode", (), {"hidden": MagicMock()}))
    stand_ins |= {"comfy_api": MagicMock(), "comfy_api.latest": MagicMock(io=io)}
    bases = SimpleNamespace(SDXL=type("SDXL", (), {}), VAE=type("VAE", (), {}))
    stand_ins |= {"comfy.supported_models": bases, "comfy.sd": bases}
    stand_ins["comfy"].supported_models = stand_ins["comfy"].sd = bases
    with nodes_without_host(**stand_ins):
        yield lambda name: import_module(f"comfyui_wegen.wegen_nodes.{name}")


WIRED = {
    "ask": ("WeGenAsk", {"question": "what?"}, ["wegen"]),
    "conditioning": ("WeGenConditioning", {"instruction": "a cat"}, ["wegen"]),
    "consistency_mask": ("WeGenConsistencyMask", {"instruction": "a cat"}, ["chat"]),
    "diversity": ("WeGenDiversity", {}, ["images"]),
    "encode_reference": ("WeGenEncodeReference", {"name": "cat"}, ["wegen", "image"]),
    "generate": ("WeGenGenerate", {"instruction": "a cat"}, ["wegen", "model", "vae"]),
    "keep": ("WeGenKeep", {"feather": 8, "align": True, "edit_mask": PICTURE[..., 0]}, ["before", "after"]),
    "load_lora": ("WeGenLoadLoRA", {"lora_name": "a", "strength": 1.0}, ["wegen"]),
    "refine": ("WeGenRefine", {"instruction": "a cat"}, ["chat"]),
    "result": (
        "WeGenResult",
        {"feather": 8, "align": True, "match_tone": False, "filename_prefix": ""},
        ["image", "turn"],
    ),
    "rewrite_prompt": (
        "WeGenRewritePrompt",
        {"instruction": "a cat", "seed": 1, "count": 1, "creativity": 0.5},
        ["wegen"],
    ),
    "select": ("WeGenSelect", {"things": "a cat", "seed": 1}, ["chat"]),
}


@pytest.mark.parametrize(("module", "socket"), [(name, one) for name, (*_, all) in WIRED.items() for one in all])
def test_a_socket_that_gets_nothing_is_named(nodes, module, socket):
    cls, given, sockets = WIRED[module]
    wired = {name: PICTURE if name in ("image", "before", "after") else MagicMock() for name in sockets}
    wired[socket] = [PICTURE, None] if module == "diversity" else None
    with pytest.raises(WeGenError, match=rf"^The {socket} is None; it must be .+\. Look at what is wired in there\.$"):
        getattr(nodes(module), cls).execute(**given, **wired)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("ask", "question"),
        ("conditioning", "instruction"),
        ("consistency_mask", "instruction"),
        ("generate", "instruction"),
        ("refine", "instruction"),
        ("rewrite_prompt", "instruction"),
        ("select", "things"),
    ],
)
def test_words_that_are_none_are_named(nodes, module, name):
    cls, given, sockets = WIRED[module]
    if sockets == ["chat"]:  # those that a chat may bring along
        sockets = ["chat", "wegen"] if module == "consistency_mask" else ["chat", "wegen", "model", "vae"]
    with pytest.raises(WeGenError, match=f"^The {name} is None; it must be a text"):
        getattr(nodes(module), cls).execute(**given | {name: None}, **{socket: MagicMock() for socket in sockets})


def test_several_masks_for_one_picture_count_as_one(nodes):
    masks = torch.zeros(3, 8, 8)
    masks[0, :2], masks[1, 4] = 1, 0.5
    one_mask, asked = nodes("batches").one_mask, nodes("taking_turns").request_of("a cat", None, masks, masks[:, None])
    expected = torch.zeros(8, 8)
    expected[:2], expected[4] = 1, 0.5
    assert torch.equal(one_mask(masks), expected)
    assert torch.equal(asked.masks.edit, expected) and torch.equal(asked.masks.keep, expected)
    assert one_mask(None) is None
    assert torch.equal(one_mask(masks[:1]), masks[:1]) and torch.equal(one_mask(masks[0]), masks[:1])
    assert len(one_mask(masks[:0])) == 0, "none is refused where it is used"
    with pytest.raises(WeGenError, match=r"got \[1, 8, 8, 3\], which is a picture"):
        one_mask(torch.zeros(1, 8, 8, 3))


def test_an_own_workflow_takes_several_masks(nodes):
    chat = Chat().add(Turn("a cat", (Answer("a cat", None, PICTURE[0], 1),)))
    masks = torch.zeros(2, 32, 32)
    masks[0, :8], masks[1, 24:] = 1, 1
    turn = nodes("turn")
    turn.WeGenTurn.execute("make it red", 1, 32, 32, chat=chat, edit_mask=masks)
    change = turn.io.NodeOutput.call_args.args[2]
    assert torch.equal(change[0], masks.amax(dim=0))


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ({"width": 8}, "The width is 8 pixels; give 16 to 8192"),
        ({"width": 64, "height": 15}, "The height is 15 pixels; give 16 to 8192"),
        ({"height": None}, "The height is None; it must be a whole number"),
    ],
)
def test_a_decoder_is_not_told_sizes_that_cannot_be_painted(nodes, size, said):
    wegen = MagicMock()
    wegen.config.size = 256
    for chat in (None, Chat().add(Turn("a cat", (Answer("a cat", None, PICTURE[0], 1),)))):
        with pytest.raises(WeGenError, match=said):
            nodes("conditioning").WeGenConditioning.execute(wegen, chat, instruction="a dog", **size)


@pytest.mark.parametrize(
    ("formats", "advised"),
    [
        ((), "or convert the checkpoint to a smaller precision: .* --dtype int8 .or w4a8."),
        ((INT8,), "--dtype w4a8"),
        ((W4A8,), "smallest precision already"),
    ],
)
def test_memory_messages_advise_no_precision_that_there_is_already(nodes, formats, advised):
    parts = nodes("host.parts")
    said = f"Memory ran out while looking at pictures.*{advised}"
    with pytest.raises(torch.cuda.OutOfMemoryError, match=said) as caught, parts.memory_errors(parts.LOOKING, formats):
        raise MemoryError
    assert ("int8" in str(caught.value)) == (not formats)
    wanted = MagicMock(bytes=2**60, title="unet", formats=formats)
    with pytest.raises(WeGenError, match=rf"are left\. Close other programs.*{advised}"):
        parts.make_room(wanted)


def test_a_memory_message_of_a_part_is_not_said_again_of_the_whole(nodes):
    memory_errors = nodes("host.parts").memory_errors
    said = pytest.raises(torch.cuda.OutOfMemoryError, match="while painting")
    with said, memory_errors("making pictures"), memory_errors("painting"):
        raise MemoryError


@pytest.fixture
def on(nodes, monkeypatch):
    """Gives `folders` on a system with these paths and this output folder."""

    def on(paths, output):
        folders = nodes("host.folders")
        monkeypatch.setattr(folders, "os", SimpleNamespace(path=paths))
        folders.folder_paths.get_output_directory = lambda: output
        return folders

    return on


def test_chats_are_called_by_their_place_below_the_output_folder(on):
    posix = on(posixpath, "/c/output").chat_name
    assert posix("/c/output/wegen/a b.safetensors") == "wegen/a b.safetensors [output]"
    assert posix("/c/elsewhere/a.safetensors") is None
    windows = on(ntpath, r"C:\output").chat_name
    assert windows(r"c:\output\wegen\panel\a.safetensors") == "wegen/panel/a.safetensors [output]"
    assert windows(r"D:\a.safetensors") is None, "relative paths lead to no other drive"


def test_names_to_save_under_lead_to_no_other_drive(on):
    assert on(posixpath, "/output").require_file_name("d:story") == "d:story"
    windows = on(ntpath, r"C:\output").require_file_name
    for name in ("d:story", "wegen/d:story", r"wegen\d:story", "d:", "wegen/d:/story"):
        with pytest.raises(WeGenError, match="names a drive; leave out 'd:'"):
            windows(name)
    for name in ("wegen/story: the end", "c:/output/story", "story"):
        assert windows(name) == name


def test_a_lora_of_other_weights_is_told_on_the_node(nodes, monkeypatch):
    module, wegen = nodes("load_lora"), MagicMock()
    monkeypatch.setattr(module, "lora_path", lambda name: name)
    monkeypatch.setattr(module, "read_lora", lambda path: path)
    for said in ("It was trained beside other weights.", ""):
        wegen.doubt.return_value = said
        module.WeGenLoadLoRA.execute(wegen, "a.safetensors", 1.0)
        module.ui.PreviewText.assert_called_with(said)


@pytest.mark.parametrize(
    ("module", "cls", "given"),
    [
        ("turn", "WeGenTurn", {"instruction": "a cat", "seed": 1, "width": 64, "height": 64}),
        ("chat", "WeGenChat", {"turn": 0, "picture": 0, "file": "none", "save_as": ""}),
        (
            "rewrite_prompt",
            "WeGenRewritePrompt",
            {"wegen": MagicMock(), "instruction": "a cat", "seed": 1, "count": 1, "max_tokens": 8, "creativity": 0.5},
        ),
    ],
)
def test_numbers_that_are_not_whole_are_named(nodes, module, cls, given):
    for name in ("seed", "width", "height", "turn", "picture", "count", "max_tokens"):
        for value in (1.5, None, "2"):
            if name in given:
                with pytest.raises(WeGenError, match=rf"^The {name} is {value!r}; it must be a whole number"):
                    getattr(nodes(module), cls).execute(**given | {name: value})


@pytest.mark.parametrize(
    ("module", "cls", "given"),
    [
        ("encode_reference", "WeGenEncodeReference", {"image": PICTURE.expand(5, -1, -1, -1), "name": "cat"}),
        ("ask", "WeGenAsk", {"image": PICTURE.expand(5, -1, -1, -1), "question": "what?"}),
        ("diversity", "WeGenDiversity", {"images": [PICTURE.expand(40, -1, -1, -1)]}),
    ],
)
def test_looking_at_many_pictures_can_be_cancelled(nodes, monkeypatch, module, cls, given):
    class Cancelled(BaseException):
        pass

    def step(done, total):
        steps.append((done, total))
        if len(steps) == 2:
            raise Cancelled

    module, steps, wegen = nodes(module), [], MagicMock(formats=())
    wegen.read_references.return_value, wegen.read.return_value = References(), Chat()
    wegen.load_vision.return_value.encode_pictures.side_effect = lambda some: torch.zeros(len(some), 64, 4)
    monkeypatch.setattr(module, "progress", lambda: step)
    if hasattr(module, "encode_reference"):
        monkeypatch.setattr(module, "encode_reference", lambda model, name, *_: Reference(name, None, PICTURE[0]))
    with pytest.raises(Cancelled):
        getattr(module, cls).execute(wegen=[wegen] if cls == "WeGenDiversity" else wegen, **given)
    assert steps in ([(1, 5), (2, 5)], [(8, 40), (16, 40)])


def test_parts_of_a_load_that_was_cancelled_make_room_for_the_next(nodes):
    class Cancelled(BaseException):
        pass

    class Patcher:
        def __init__(self, model):
            self.model = model

        def current_loaded_device(self):
            return None

    def patcher(read):
        weights = SimpleNamespace(read=read, patchers=set(), load_call=-1)
        return nodes("host.parts")._part_patcher(Patcher)(SimpleNamespace(part_weights=weights))

    cancelled, beside, later = patcher(MagicMock(side_effect=Cancelled)), patcher(MagicMock()), patcher(MagicMock())
    for one in (cancelled, beside):
        one.current_loaded_device()
    with pytest.raises(Cancelled):
        cancelled.partially_load()
    later.current_loaded_device()
    assert cancelled.weights.load_call == beside.weights.load_call != later.weights.load_call


def test_a_load_that_failed_leaves_nothing_beside_the_layers(nodes, monkeypatch):
    side_lora = nodes("host.side_lora")
    monkeypatch.setattr(
        side_lora, "PatcherInjection", lambda inject, eject: SimpleNamespace(inject=inject, eject=eject)
    )

    class Patcher:
        """As far as the host's: what is to be put beside layers is put there also where a load failed."""

        def __init__(self, model):
            self.model, self.injected, self.is_injected = model, [], False

        def remove_injections(self, name):
            self.injected = []

        def set_injections(self, name, injected):
            self.injected = injected

        def inject_model(self):
            self.is_injected = True
            for one in self.injected:
                one.inject(self)

        def eject_model(self):
            for one in self.injected if self.is_injected else ():
                one.eject(self)
            self.is_injected = False

        def partially_load(self, device, force_patch_weights=False):
            self.inject_model()
            if device == "full":
                raise RuntimeError("out of memory")

    model = torch.nn.ModuleDict({"layer": torch.nn.Linear(4, 4)})
    patcher = side_lora.with_side_lora(Patcher)(model)
    factors = SimpleNamespace(weights=(torch.ones(4, 1), torch.ones(1, 4), None))
    patcher._put_beside({"layer.weight": [(1.0, factors)]})
    x = torch.ones(1, 4)
    plain = model["layer"](x)
    with pytest.raises(RuntimeError, match="out of memory"):
        patcher.partially_load("full")
    assert torch.equal(model["layer"](x), plain)
    patcher.partially_load("cpu")
    assert torch.equal(model["layer"](x), plain + 4)
