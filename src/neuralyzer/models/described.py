"""What of a recipe its digest covers beyond its own fields: layers, groups of parameters, and the schedule."""

import warnings
from typing import Any

import torch
from torch import nn

PLAIN = (bool, int, float, str, type(None))
STEPS = 20  # of a schedule whose rates are written down
COUNTERS = {"last_epoch", "verbose", "base_lrs", "total_steps"}  # of a schedule: where it stands, what others set


def layers(module: nn.Module) -> dict[str, str]:
    """Class and settings of each layer, such as a dropout's rate, by its name."""
    return {name: f"{type(own).__qualname__}({_settings(own)})" for name, own in module.named_modules()}


def _settings(module: nn.Module) -> str:
    if type(module).__module__.startswith("torch."):
        return module.extra_repr()
    own = {name: value for name, value in vars(module).items() if not name.startswith("_") and name != "training"}
    said = [f"{name}={value!r}" for name, value in sorted(own.items()) if _is_plain(value)]
    return ", ".join([*said, *([module.extra_repr()] if module.extra_repr() else [])])


def groups(optimizer: torch.optim.Optimizer, module: nn.Module) -> list[dict[str, Any]]:
    """Settings of each group of parameters, and which are in it."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return [
        {key: repr(value) for key, value in sorted(group.items()) if key not in ("params", "param_names")}
        | {"params": [names.get(id(parameter), "?") for parameter in group["params"]]}
        for group in optimizer.param_groups
    ]


def schedule(made: torch.optim.lr_scheduler.LRScheduler) -> dict[str, Any]:
    """Class, settings and first rates of a schedule; functions in it are known by the rates that they give."""
    kept = {key: value for key, value in vars(made).items() if not key.startswith("_") and key not in COUNTERS}
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no step is taken, so the order of steps does not matter
        for _ in range(STEPS):
            try:
                made.step()
            except (TypeError, ValueError):  # one that wants a loss, or has come to its end
                break
            rates.append([f"{group['lr']:.9g}" for group in made.optimizer.param_groups])
    return {
        "class": type(made).__name__,
        "settings": {key: repr(value) for key, value in sorted(kept.items()) if _is_plain(value)},
        "rates": rates,
    }


def _is_plain(value: Any) -> bool:
    return isinstance(value, PLAIN) or (isinstance(value, (list, tuple)) and all(map(_is_plain, value)))
