"""A node for tests alone: it works until it is interrupted and takes no time; what is queued behind it waits."""

import time
import uuid

import comfy.model_management


class Wait:
    CATEGORY = "tests"
    FUNCTION = "wait"
    OUTPUT_NODE = True
    RETURN_TYPES = ()

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    @classmethod
    def IS_CHANGED(cls):
        return uuid.uuid4().hex

    def wait(self):
        while True:
            comfy.model_management.throw_exception_if_processing_interrupted()
            time.sleep(0.02)


NODE_CLASS_MAPPINGS = {"TestsWait": Wait}
