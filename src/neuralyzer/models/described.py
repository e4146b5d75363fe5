"""The parts of a recipe that its digest covers beyond the recipe's fields: layers, parameter groups and schedule."""

import warnings
from typing import Any

import torch
from torch import nn

PLAIN = (bool, int, float, str, type(None))  # types whose values have the same text in every process
STEPS = 20  # steps of a schedule whose rates the digest covers; chosen, not tuned
COUNTERS = {"last_epoch", "verbose", "base_lrs", "total_steps"}  # attributes of a schedule that are not its settings


def layers(module: nn.Module) -> dict[str, str]:
    """Return class and settings of each layer, such as a dropout's rate, by its name."""
    return {name: f"{type(layer).__qualname__}({_settings(layer)})" for name, layer in module.named_modules()}


def _settings(module: nn.Module) -> str:
    """Return a layer's settings as text: those that torch prints, or a user's layer's public attributes."""
    if type(module).__module__.startswith("torch."):
        return module.extra_repr()
    public = {name: value for name, value in vars(module).items() if not name.startswith("_") and name != "training"}
    settings = [f"{name}={value!r}" for name, value in sorted(public.items()) if _is_plain(value)]
    return ", ".join([*settings, *([module.extra_repr()] if module.extra_repr() else [])])


def groups(optimizer: torch.optim.Optimizer, module: nn.Module) -> list[dict[str, Any]]:
    """Return the settings of each parameter group of an optimizer, and the names of its parameters."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return [
        {key: repr(value) for key, value in sorted(group.items()) if key not in ("params", "param_names")}
        | {"params": [names.get(id(parameter), "?") for parameter in group["params"]]}
        for group in optimizer.param_groups
    ]


def schedule(scheduler: torch.optim.lr_scheduler.LRScheduler) -> dict[str, Any]:
    """Return class, settings and first rates of a schedule.

    Functions in it have no text that is the same in every process; they are represented by the rates that they give.
    """
    settings = {key: value for key, value in vars(scheduler).items() if not key.startswith("_") and key not in COUNTERS}
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no step is taken, so the order of steps does not matter
        for _ in range(STEPS):
            try:
                scheduler.step()
            except (TypeError, ValueError):  # a schedule that takes a loss, or that has ended
                break
            rates.append([f"{group['lr']:.9g}" for group in scheduler.optimizer.param_groups])
    return {
        "class": type(scheduler).__name__,
        "settings": {key: repr(value) for key, value in sorted(settings.items()) if _is_plain(value)},
        "rates": rates,
    }


def _is_plain(value: Any) -> bool:
    """Return whether a value's text is the same in every process."""
    return isinstance(value, PLAIN) or (isinstance(value, (list, tuple)) and all(map(_is_plain, value)))
