"""Weights of a model rounded to few bits, as they are where it is served: linear layers, adapters merged into them."""

from typing import Any

import torch
from torch import Tensor, nn


@torch.no_grad()
def rounded(model: nn.Module, bits: int) -> dict[str, Tensor]:
    """Return what a language model's linear layers compute with after their weights were rounded.

    An adapter is merged into its layer first. Each output's weights are rounded to the nearest of ``2 ** bits - 1``
    equidistant levels between minus and plus their largest absolute value. Embeddings, norms, biases and the head stay
    as they are, as usual where models are quantised. It takes the memory of one more copy of the linear layers.

    Args:
        model: a ``Reader``; not changed.
        bits: of a weight, 2 or more.

    Returns:
        Parameters by name, as new tensors: the weights, and zeros in place of the adapters that are merged into them.
    """
    given: Any = model
    replaced, done = {}, set(given.get_output_embeddings().modules())
    for name, module in model.named_modules():  # a layer comes before those within it
        if module in done:
            continue
        layer: Any = module
        if "default" in getattr(layer, "lora_B", ()):  # PEFT's layer around the base's
            done |= set(layer.modules())
            replaced[f"{name}.lora_B.default.weight"] = torch.zeros_like(layer.lora_B["default"].weight)
            name, layer, added = f"{name}.base_layer", layer.base_layer, layer.get_delta_weight("default")
        elif isinstance(layer, nn.Linear) or _turned(layer):
            added = torch.zeros(())
        else:
            continue
        weight = layer.weight.float() + added
        by_output = nearest(weight.T, bits).T if _turned(layer) else nearest(weight, bits)
        replaced[f"{name}.weight"] = by_output.to(layer.weight.dtype)
    return replaced


def nearest(weight: Tensor, bits: int) -> Tensor:
    """Return weights ``(out, in)`` at the nearest level of their row."""
    levels = 2 ** (bits - 1) - 1  # on either side of 0
    step = weight.abs().amax(1, keepdim=True) / levels
    step = torch.where(step > 0, step, 1)  # a row of zeros stays one
    return (weight / step).round() * step


def _turned(layer: nn.Module) -> bool:
    """Return whether a layer holds its weights ``(in, out)``, as GPT-2's do."""
    return type(layer).__name__ == "Conv1D"
