"""What a verb needs beyond the core."""

from importlib.util import find_spec

from neuralyzer.errors import UsageError


def require(extra: str, module: str) -> None:
    """Refuse a verb whose extra is not installed.

    Args:
        extra: its name.
        module: that it brings.

    Raises:
        UsageError: if the module is missing.
    """
    if find_spec(module) is None:
        raise UsageError(f"this needs the extra '{extra}': pip install 'neuralyzer-unlearning[{extra}]'")
