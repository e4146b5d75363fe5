"""Which parameters are a network's last: what CF-k and EU-k train."""

from torch import nn

from neuralyzer.errors import UsageError


def last(module: nn.Module, count: int) -> list[str]:
    """Names of the trained parameters of the last ``count`` layers that have any, in the order of their definition.

    Args:
        module: the network.
        count: how many layers, at least one; all where it has fewer.

    Returns:
        Names, as ``named_parameters`` has them.

    Raises:
        UsageError: if ``count`` is below 1.
    """
    if count < 1:
        raise UsageError(f"the last {count} layers were asked for; it takes at least 1")
    layers: dict[str, list[str]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            layers.setdefault(name.rpartition(".")[0], []).append(name)
    return [name for own in list(layers.values())[-count:] for name in own]
