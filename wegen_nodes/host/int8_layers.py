"""The host's quantised layers with a faster product on the CPU: the host's own transposes each weight at each use."""

from __future__ import annotations

import comfy.model_management
from comfy.quant_ops import QuantizedTensor

from ...models.checkpoints.int8_layers import fast_on_cpu, multiply
from ...models.checkpoints.quantise import Int8Weight

LAYOUT = "TensorWiseINT8Layout"


def with_int8_products(operations, device):
    """The host's operations, with the product of 8-bit weights done here where the CPU computes."""
    if not (comfy.model_management.is_device_cpu(device) and fast_on_cpu()):
        return operations

    class Operations(operations):
        """As the host's."""

        class Linear(operations.Linear):
            """As the host's; what it asks for the product is all that differs."""

            def _forward(self, input, weight, bias):
                if not isinstance(weight, QuantizedTensor) or weight._layout_cls != LAYOUT:
                    return super()._forward(input, weight, bias)
                parameters = weight._params
                scale = parameters.scale.float().reshape(-1)
                group = parameters.convrot_groupsize if parameters.convrot else 0
                return multiply(input, Int8Weight(weight._qdata, scale, group), bias)

    return Operations
