"""The table of a certificate's fields, made from the models that read and write it."""

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from neuralyzer.certificates.statement import Statement


def fields(model: type[BaseModel] = Statement, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield each field of a model and of the models inside it.

    Args:
        model: where to begin.
        prefix: path of the model itself.

    Yields:
        Path (``[]`` marks the entries of a list), kind and description.
    """
    for name, entry in model.model_fields.items():
        kind: Any = entry.annotation
        inner, many = _model_in(kind)
        path = f"{prefix}{entry.alias or name}{'[]' if many else ''}"
        yield path, _kind(kind, inner), entry.description or ""
        if inner is not None:
            yield from fields(inner, f"{path}.")


def table() -> str:
    """Return all fields as a Markdown table."""
    rows = [f"| `{path}` | {kind} | {description} |" for path, kind, description in fields()]
    return "\n".join(["| field | kind | what it says |", "|---|---|---|", *rows])


def _model_in(kind: Any) -> tuple[type[BaseModel] | None, bool]:
    """Return the model that a field holds, and whether it holds a list of them."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind, False
    for inner in get_args(kind):
        model, _ = _model_in(inner)
        if model is not None:
            return model, getattr(kind, "__origin__", None) is list
    return None, False


def _kind(kind: Any, inner: type[BaseModel] | None) -> str:
    origin, parts = getattr(kind, "__origin__", None), get_args(kind)
    null = type(None) in parts
    if origin is list:
        return "list of objects" if inner else "list of " + {str: "texts", int: "whole numbers"}[parts[0]]
    if origin is dict:
        return "object"
    if inner is not None:
        name = "object"
    elif null:
        name = _kind(next(part for part in parts if part is not type(None)), None)
    else:
        name = {str: "text", int: "whole number", float: "number", bool: "true or false"}.get(kind, "text")
    return f"{name} or null" if null else name


if __name__ == "__main__":
    print(table())
