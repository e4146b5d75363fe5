"""What the hyperparameters of an algorithm may be."""

from typing import Any

from neuralyzer.errors import UsageError


def require(method: Any, **bounds: tuple[float, float]) -> None:
    """Refuse hyperparameters that an algorithm cannot work with.

    Args:
        method: has them as attributes.
        bounds: smallest and largest value by name.

    Raises:
        UsageError: if one is outside, or is no number.
    """
    for name, (low, high) in bounds.items():
        value = getattr(method, name)
        if not low <= value <= high:
            allowed = f"at least {low:g}" if high == float("inf") else f"from {low:g} to {high:g}"
            raise UsageError(f"{name} of method {method.name} is {value}; it must be {allowed}")
