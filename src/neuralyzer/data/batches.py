"""The inputs of a batch: a tensor, or tensors by name, such as tokens, which are padded on the right.

All that is done with inputs is done by these functions, so that no other module depends on their kind. The names are
those of the arguments of the model's ``forward``. If one is ``attention_mask``, the inputs are tokens, and the mask is
1 where a row has a token and 0 where it is padded. Other inputs with one entry per token have a name of ``BY_TOKEN``,
since shapes alone cannot tell.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralyzer.errors import UsageError

Inputs = Tensor | dict[str, Tensor]
IDS, MASK, TARGETS = "input_ids", "attention_mask", "target_mask"
BY_TOKEN = {
    IDS,
    MASK,
    TARGETS,
    "token_type_ids",
    "position_ids",
}  # inputs with one entry per token; others have one per row
BINS = 256  # in which tokens are counted
TOKENS = 1024  # tokens of a pass at most: limits memory; more are no faster on a processor. Chosen, not tuned


def mapped(x: Inputs, function: Callable[[Tensor], Tensor]) -> Inputs:
    """Return inputs with a function applied to each tensor."""
    return function(x) if isinstance(x, Tensor) else {name: function(values) for name, values in x.items()}


def tensors(x: Inputs) -> list[Tensor]:
    """Return the tensors of inputs, in the order of their names."""
    return [x] if isinstance(x, Tensor) else [x[name] for name in sorted(x)]


def count(x: Inputs) -> int:
    """Return the number of rows."""
    return len(tensors(x)[0])


def take(x: Inputs, rows: Any) -> Inputs:
    """Return some rows.

    Args:
        x: ``(N, ...)``.
        rows: a slice, positions or a mask.

    Returns:
        ``(n, ...)``, padded as before.
    """
    return mapped(x, lambda values: values[rows])


def each(x: Inputs) -> Iterator[Inputs]:
    """Yield the rows one by one, without their first axis."""
    return (take(x, row) for row in range(count(x)))


def alone(row: Inputs) -> Inputs:
    """Return a row without its first axis as a batch of one."""
    return mapped(row, lambda values: values[None])


def chunked(x: Inputs, size: int) -> Iterator[Inputs]:
    """Yield the rows in order, at most ``size`` at a time; of tokens, as ``spans`` limits them."""
    return (trimmed(take(x, rows)) for rows in spans(x, size))


def spans(x: Inputs, size: int, tokens: int = TOKENS) -> Iterator[slice]:
    """Yield slices of the rows in order.

    Args:
        x: ``(N, ...)``.
        size: most rows of a slice.
        tokens: most tokens of a slice, padding included; one row may have more. Other inputs have no such limit.
    """
    if isinstance(x, Tensor) or MASK not in x:
        yield from (slice(start, start + size) for start in range(0, count(x), size))
        return
    start, longest = 0, 1
    for row, length in enumerate(lengths(x).tolist()):
        longest = max(longest, length)
        if row > start and (row - start == size or (row - start + 1) * longest > tokens):
            yield slice(start, row)
            start, longest = row, length
    yield slice(start, count(x))


def by_length(x: Inputs) -> tuple[Inputs, Tensor | None]:
    """Return the rows with short texts first, and the positions that put them back in order; None where they stay."""
    if isinstance(x, Tensor) or MASK not in x or count(x) < 2:
        return x, None
    order = torch.argsort(lengths(x), stable=True)
    return take(x, order), torch.argsort(order)


def lengths(x: dict[str, Tensor]) -> Tensor:
    """Return each row's number of tokens up to its last, ``(N,)``; at least 1."""
    mask = x[MASK]
    return (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).amax(1).clamp_min(1)


def join(parts: Sequence[Inputs]) -> Inputs:
    """Return several batches as one; tokens are padded to the widest.

    Args:
        parts: at least one, all of a kind.

    Returns:
        All rows in order.
    """
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat([part for part in parts if isinstance(part, Tensor)])
    named = [part for part in parts if isinstance(part, dict)]
    if MASK in first:
        named = [_padded(part, max(part[MASK].shape[1] for part in named)) for part in named]
    return {name: torch.cat([part[name] for part in named]) for name in first}


def trimmed(x: Inputs) -> Inputs:
    """Return tokens without the padding on the right that no row needs; other inputs as they are."""
    if isinstance(x, Tensor) or MASK not in x:
        return x
    width = int(lengths(x).max()) if count(x) else 1
    return {name: values[:, :width] if name in BY_TOKEN else values for name, values in x.items()}


def real(x: Inputs) -> bool:
    """Return whether inputs are one tensor of real numbers, which may be moved a little."""
    return isinstance(x, Tensor) and x.is_floating_point()


def features(x: Inputs) -> Tensor:
    """Return inputs that are one tensor.

    Args:
        x: ``(N, ...)``.

    Returns:
        The same.

    Raises:
        UsageError: if they are several by name.
    """
    if isinstance(x, dict):
        raise UsageError(f"these rows have inputs by name ({', '.join(x)}), and one table of numbers is needed")
    return x


def table(x: Inputs) -> Tensor:
    """Return inputs as one table of numbers, in which distances are computed.

    Args:
        x: ``(n, ...)``.

    Returns:
        ``(n, d)`` in float64; for tokens the count of each, in ``BINS`` by the remainder of its id.
    """
    if isinstance(x, Tensor):
        return x.reshape(len(x), -1).double()
    if MASK in x:
        counts = torch.zeros(count(x), BINS, dtype=torch.float64)
        return counts.scatter_add_(1, x[IDS] % BINS, x[MASK].double())
    return torch.cat([table(values) for values in tensors(x)], 1)


def shapes(x: Inputs) -> tuple[Any, ...]:
    """Return names, shapes and types of the tensors."""
    names = [""] if isinstance(x, Tensor) else sorted(x)
    return tuple((name, values.shape, values.dtype) for name, values in zip(names, tensors(x), strict=True))


def width(x: Inputs) -> str:
    """Return the number of a row's features, in words."""
    if isinstance(x, dict) and MASK in x:
        return "tokens, of different lengths"
    return f"{sum(values.numel() for values in tensors(x)) // count(x):,} features"


def described(x: Inputs) -> str:
    """Return what a row is, for an error line."""
    if isinstance(x, Tensor):
        return f"{x.dtype} of shape {tuple(x.shape[1:])}"
    return ", ".join(f"{name} {values.dtype} of shape {tuple(values.shape[1:])}" for name, values in x.items())


def tokens(sequences: Sequence[Any], pad: int = 0) -> dict[str, Tensor]:
    """Return rows of token ids of different lengths as one batch.

    Args:
        sequences: ``N`` sequences of whole numbers, none of them empty.
        pad: id that rows are padded with on the right; the mask is 0 there.

    Returns:
        ``input_ids`` and ``attention_mask``, each ``(N, longest)``.

    Raises:
        UsageError: if a row has no token, or a token is no whole number of 0 or more.
    """
    lengths = np.array([0 if values is None else len(values) for values in sequences], dtype=np.int64)
    if not lengths.all():
        raise UsageError(f"row {int(np.flatnonzero(lengths == 0)[0]):,} has no tokens; remove such rows")
    flat = joined_tokens(sequences)
    mask = np.arange(lengths.max())[None] < lengths[:, None]
    ids = np.full(mask.shape, pad, dtype=np.int64)
    ids[mask] = flat
    return {IDS: torch.from_numpy(ids), MASK: torch.from_numpy(mask.astype(np.int64))}


def joined_tokens(sequences: Sequence[Any]) -> np.ndarray:
    """Return the tokens of one row after the other; refuse what is no whole number of 0 or more."""
    flat = np.concatenate([np.asarray(values) for values in sequences])
    if flat.dtype.kind not in "iu" or flat.min() < 0:
        raise UsageError("tokens must be whole numbers of 0 or more, as a tokenizer gives them")
    return flat


def arrays(x: Inputs) -> list[np.ndarray]:
    """Return inputs as arrays of rows for digests, in which equal rows are equal whatever their padding.

    Args:
        x: ``(N, ...)``.

    Returns:
        Arrays ``(N, ...)``; tokens as one of objects, each row's bytes without padding.
    """
    if isinstance(x, Tensor):
        return [x.numpy()]
    if MASK not in x:
        return [values.numpy() for values in tensors(x)]
    mask = x[MASK].bool()
    inputs = [(name.encode(), values, name in BY_TOKEN) for name, values in sorted(x.items()) if name != MASK]
    rows = [
        b"".join(
            name + values[row][mask[row] if by_token else ...].numpy().tobytes() for name, values, by_token in inputs
        )
        for row in range(count(x))
    ]
    return [np.array(rows, dtype=object)]


def as_mapping(x: Mapping[str, Any], make: Callable[[Any], Tensor]) -> dict[str, Tensor]:
    """Return inputs by name.

    Args:
        x: arrays or tensors by name, each ``(N, ...)``.
        make: turns each into a tensor.

    Returns:
        The tensors.

    Raises:
        UsageError: if there is none, or they have different numbers of rows.
    """
    inputs = {str(name): make(values) for name, values in x.items()}
    if len({len(values) for values in inputs.values()}) != 1:
        lengths = ", ".join(f"{name} {len(values)}" for name, values in inputs.items()) or "none"
        raise UsageError(f"inputs by name must have equally many rows; there are: {lengths}")
    return inputs


def _padded(x: dict[str, Tensor], width: int) -> dict[str, Tensor]:
    missing = width - x[MASK].shape[1]

    def pad(values: Tensor) -> Tensor:
        return torch.cat([values, values.new_zeros(len(values), missing, *values.shape[2:])], 1)

    return {name: pad(values) if missing and name in BY_TOKEN else values for name, values in x.items()}
