"""Validation of hyperparameters."""

from typing import Any

from neuralyzer.errors import UsageError


def require(method: Any, **bounds: tuple[float, float]) -> None:
    """Refuse hyperparameters outside their bounds.

    Args:
        method: has them as attributes.
        bounds: smallest and largest value by name.

    Raises:
        UsageError: if one is outside its bounds, or is NaN.
    """
    for name, (low, high) in bounds.items():
        value = getattr(method, name)
        if not low <= value <= high:
            allowed = f"at least {low:g}" if high == float("inf") else f"from {low:g} to {high:g}"
            raise UsageError(f"{name} of method {method.name} is {value}; it must be {allowed}")
