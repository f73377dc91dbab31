"""A client of the ComfyUI server: posts a graph, follows its events to the end, fetches its pictures."""

import io
import json
import struct
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests
import websocket
from PIL import Image
from support import HANGS

# Numbers of the host's binary messages (its protocol.py).
PREVIEW_IMAGE_WITH_METADATA = 4

EMPTY_RUN = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
    "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
}

WAIT = {"1": {"class_type": "TestsWait", "inputs": {}}}

# How a run ends, by the event that says so. Others leave it open.
STATUS_OF_EVENT = {
    "execution_success": "success",
    "execution_error": "error",
    "execution_interrupted": "interrupted",
}


@dataclass(frozen=True)
class Event:
    """One message of the server, as the front end gets it; pictures come as the type `preview`."""

    type: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Preview:
    """A picture that a node showed while it ran."""

    node_id: str
    image: Image.Image


@dataclass(frozen=True)
class NodeError:
    """What a user reads at a node: from validation before the run, or an exception in it."""

    node_id: str
    type: str
    message: str


@dataclass
class Result:
    """All that one prompt left behind.

    Attributes:
        status: `success`, `error`, `interrupted`, or `rejected` when validation did not let it run.
        outputs: node id to its ui dict, as in `/history`; nodes answered from the cache are in it too.
        executed_nodes: ids of the nodes that really ran, in order.
        cached_nodes: ids of the nodes that the cache answered.
        errors: what users see at the nodes. A run can succeed and have some: the host drops invalid branches.
    """

    prompt_id: str
    status: str = "running"
    outputs: dict[str, dict[str, list]] = field(default_factory=dict)
    executed_nodes: list[str] = field(default_factory=list)
    cached_nodes: list[str] = field(default_factory=list)
    errors: list[NodeError] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    previews: list[Preview] = field(default_factory=list)

    def events_of(self, event_type: str, node_id: str | None = None) -> list[Event]:
        """The events of one type, of one node when it is given."""
        return [
            event
            for event in self.events
            if event.type == event_type and (node_id is None or event.data.get("node") == node_id)
        ]


class ComfyClient:
    """Talks to the server at `url` the way the front end does."""

    def __init__(self, url: str):
        self.url = url
        self._session = requests.Session()

    def run(
        self,
        prompt: dict[str, dict],
        *,
        timeout: float = HANGS,
        interrupt_when: Callable[[Event], bool] | None = None,
        extra_data: dict[str, Any] | None = None,
    ) -> Result:
        """Queue `prompt` (API format) and follow it until the server is done with it.

        Args:
            timeout: seconds; the prompt is interrupted when they are over.
            interrupt_when: called with each event; at the first True the prompt is cancelled as a user would.
            extra_data: `{"extra_pnginfo": {"workflow": ...}}`, `{"preview_method": "none"}`, ...

        Raises:
            TimeoutError: the run took longer than `timeout`.
        """
        client_id = uuid.uuid4().hex
        result = Result(prompt_id=str(uuid.uuid4()))
        socket = self._connect(client_id)
        try:
            self._queue(prompt, result, client_id, extra_data or {})
            if result.status != "rejected":
                self._follow(socket, result, timeout, interrupt_when)
                result.outputs = self.history(result.prompt_id)["outputs"]
        finally:
            socket.close()
        return result

    def begin(self, prompt: dict[str, dict], client_id: str | None = None) -> str:
        """Queue a prompt that must be taken, and go on; gives its id."""
        result = Result(prompt_id=str(uuid.uuid4()))
        self._queue(prompt, result, client_id, {})
        assert result.errors == [], result.errors
        return result.prompt_id

    def end_all(self) -> None:
        """Empty the queue and interrupt what runs, until nothing is left of it."""
        deadline = time.monotonic() + HANGS
        while any(queue := self.queue().values()):
            assert time.monotonic() < deadline, queue
            self._post("/queue", {"clear": True})
            self._post("/interrupt", {})
            time.sleep(0.05)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """The server works on something until the end of this, and what is queued meanwhile waits."""
        prompt_id = self.begin(WAIT)

        def runs() -> bool:
            return prompt_id in [item[1] for item in self.queue()["queue_running"]]

        def until(reached: Callable[[], bool], seconds: float = HANGS) -> bool:
            deadline = time.monotonic() + seconds
            while not reached():
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.05)
            return True

        assert until(runs), "the server does not take up what it is to work on"
        try:
            yield
        finally:

            def ends() -> bool:
                # Once, and some time for it: a second time could come when the next one is running already.
                self.interrupt(prompt_id)
                return until(lambda: not runs(), 2)

            # A prompt that has only just been taken up does not hear of it.
            assert until(ends), "the server does not leave what it was to work on"

    def interrupt(self, prompt_id: str) -> None:
        """Cancel the prompt if it is running."""
        self._post("/interrupt", {"prompt_id": prompt_id})

    def free_memory(self) -> None:
        """Unload all models and empty the cache of node outputs, as the menu entry does."""
        self._post("/free", {"unload_models": True, "free_memory": True})
        # The host may take up a prompt before it frees, but not the second one.
        self.run(EMPTY_RUN)

    def queue(self) -> dict[str, list]:
        """`queue_running` and `queue_pending`."""
        return self.get("/queue").json()

    def history(self, prompt_id: str) -> dict[str, Any]:
        """Outputs and status of a finished prompt."""
        return self.get(f"/history/{prompt_id}").json()[prompt_id]

    def object_info(self, node_id: str | None = None) -> dict[str, Any]:
        """Descriptions of all nodes, or of the one with this id (empty when the host does not know it)."""
        return self.get("/object_info" + (f"/{node_id}" if node_id else "")).json()

    def upload_image(self, image: Image.Image, name: str) -> str:
        """Put a picture into the input folder as a PNG file and return the name for LoadImage."""
        buffer = io.BytesIO()
        image.save(buffer, format="PNG")
        files = {"image": (name, buffer.getvalue(), "image/png")}
        response = self._session.post(
            self.url + "/upload/image", files=files, data={"overwrite": "true"}, timeout=HANGS
        )
        response.raise_for_status()
        return response.json()["name"]

    def files(self, result: Result, node_id: str, kind: str = "images") -> list[bytes]:
        """The files that a node saved or previewed, byte for byte."""
        return [self.get("/view", params=reference).content for reference in result.outputs[node_id][kind]]

    def images(self, result: Result, node_id: str) -> list[Image.Image]:
        """The pictures that a node saved or previewed."""
        return [Image.open(io.BytesIO(content)) for content in self.files(result, node_id)]

    def get(self, path: str, **arguments: Any) -> requests.Response:
        """GET any route; an HTTP error raises."""
        response = self._session.get(self.url + path, timeout=HANGS, **arguments)
        response.raise_for_status()
        return response

    def _post(self, path: str, payload: dict[str, Any]) -> None:
        self._session.post(self.url + path, json=payload, timeout=HANGS).raise_for_status()

    def _connect(self, client_id: str) -> websocket.WebSocket:
        address = self.url.replace("http://", "ws://", 1)
        socket = websocket.create_connection(f"{address}/ws?clientId={client_id}", timeout=HANGS)
        # Previews that name their node are only sent to clients which ask for them in their first message.
        socket.send(json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}}))
        # The answer proves that the server knows this client, so that no event of the run gets lost.
        while json.loads(socket.recv())["type"] != "feature_flags":
            pass
        return socket

    def _queue(self, prompt: dict, result: Result, client_id: str | None, extra_data: dict) -> None:
        payload = {
            "prompt": prompt,
            "prompt_id": result.prompt_id,
            "client_id": client_id,
            "extra_data": extra_data,
        }
        response = self._session.post(self.url + "/prompt", json=payload, timeout=HANGS)
        if response.status_code not in (200, 400):
            response.raise_for_status()
        answer = response.json()
        for node_id, node in (answer.get("node_errors") or {}).items():
            for error in node["errors"]:
                result.errors.append(NodeError(node_id, error["type"], f"{error['message']}: {error['details']}"))
        if response.status_code == 400:
            result.status = "rejected"
            if not result.errors:
                error = answer["error"]
                result.errors.append(NodeError("", error["type"], f"{error['message']}: {error['details']}"))

    def _follow(
        self,
        socket: websocket.WebSocket,
        result: Result,
        timeout: float,
        interrupt_when: Callable[[Event], bool] | None,
    ) -> None:
        deadline = time.monotonic() + timeout
        while True:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                self.interrupt(result.prompt_id)
                last = [event.type for event in result.events[-5:]]
                raise TimeoutError(f"The prompt was not done after {timeout} s; its last events: {last}")
            socket.settimeout(remaining)
            try:
                message = socket.recv()
            except websocket.WebSocketTimeoutException:
                continue
            event = self._binary_event(message) if isinstance(message, bytes) else Event(**json.loads(message))
            if event is None or event.data.get("prompt_id") != result.prompt_id:
                continue
            if self._note(event, result):
                return
            if interrupt_when is not None and interrupt_when(event):
                self.interrupt(result.prompt_id)
                interrupt_when = None

    @staticmethod
    def _binary_event(message: bytes) -> Event | None:
        (kind,) = struct.unpack_from(">I", message)
        if kind != PREVIEW_IMAGE_WITH_METADATA:
            return None
        (length,) = struct.unpack_from(">I", message, 4)
        metadata = json.loads(message[8 : 8 + length])
        image = Image.open(io.BytesIO(message[8 + length :]))
        image.load()
        return Event("preview", {**metadata, "node": metadata["node_id"], "image": image})

    @staticmethod
    def _note(event: Event, result: Result) -> bool:
        """Write `event` into `result`; True when it is the last one of the run."""
        result.events.append(event)
        data = event.data
        result.status = STATUS_OF_EVENT.get(event.type, result.status)
        if event.type == "preview":
            result.previews.append(Preview(data["node"], data["image"]))
        elif event.type == "execution_cached":
            result.cached_nodes = list(data["nodes"])
        elif event.type == "execution_error":
            error = NodeError(data["node_id"], data["exception_type"], data["exception_message"].strip())
            result.errors.append(error)
        elif event.type == "executing":
            # Only now is the history written; `execution_success` comes before it.
            if data["node"] is None:
                return True
            result.executed_nodes.append(data["node"])
        return False
