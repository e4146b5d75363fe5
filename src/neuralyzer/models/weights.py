"""Weights on disk: safetensors files, checked before they are used."""

import copy
import shutil
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn

from neuralyzer._moved import old_arguments
from neuralyzer.errors import StorageError, WeightsError
from neuralyzer.models.kinds.kind import InFolder, OnFrozenBase, Restorable
from neuralyzer.workspace import atomic, digests

PREFIXES = ("module.", "_orig_mod.", "model.")
"""Prefixes that DataParallel, ``torch.compile`` and Lightning put before every tensor's name."""


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors that a model is kept as: all parameters and buffers, or those that are trained on a frozen base."""
    return dict(module.trained_state() if isinstance(module, OnFrozenBase) else module.state_dict())


def _contiguous(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}


def save(module: nn.Module, path: Path) -> Path:
    """Write the tensors that a module is kept as (``state``) atomically; a tied tensor is written under each name.

    Returns:
        ``path``.

    Raises:
        StorageError: if the disk is full or the folder cannot be written.
    """
    tensors = _contiguous(state(module))
    try:
        return atomic.write_with(path, lambda part: safetensors.torch.save_file(tensors, part))
    except safetensors.SafetensorError as error:
        raise StorageError(f"cannot write {path}: {error}; free space or choose another folder") from error


def save_folder(module: nn.Module, folder: Path, file: Path) -> Path | None:
    """Write the folder from which other libraries read a model.

    Args:
        module: the model.
        folder: is made where it is missing.
        file: that ``save`` wrote of it; linked where the file system can, else copied.

    Returns:
        ``folder``; None for a kind of model that no other library reads from a folder.

    Raises:
        StorageError: if the disk is full or the folder cannot be written.
    """
    if not isinstance(module, InFolder):
        return None
    atomic.make_folder(folder)
    named = folder / module.file_name
    try:
        named.unlink(missing_ok=True)
        try:
            named.hardlink_to(file)
        except OSError:
            shutil.copyfile(file, named)
        module.describe_in(folder)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error}; free space or choose another folder") from error
    return folder


def digest(module: nn.Module) -> str:
    """Return the SHA-256 of a module's weights, equal to that of the file that ``save`` writes."""
    return digests.of_bytes(safetensors.torch.save(_contiguous(state(module))))


@old_arguments(state="tensors")
def bare_digest(tensors: dict[str, torch.Tensor]) -> str:
    """Return the SHA-256 of tensors by their names without a wrapper's prefix (``PREFIXES``), equal in every copy."""
    return digests.of_bytes(safetensors.torch.save(_contiguous(without_prefix(tensors)[0])))


def tensors_digest(path: Path) -> str | None:
    """Return the digest of the tensors in a file, the same in every copy whatever else the file holds.

    Args:
        path: of a safetensors file, or of one that ``torch.save`` wrote of a state dict, which is read without running
            code.

    Returns:
        Their ``bare_digest``; None where the file holds no plain tensors.
    """
    tensors = _tensors(path)
    return None if tensors is None else bare_digest(tensors)


def identities(weights: Path | nn.Module) -> tuple[str, ...]:
    """Return the digests that identify weights.

    Args:
        weights: a file, or a module.

    Returns:
        The digest of the file's bytes, or of those that ``save`` writes of the module; then that of the tensors, where
        it differs.

    Raises:
        UnreadableError: if the file cannot be read.
    """
    if isinstance(weights, nn.Module):
        known: list[str | None] = [digest(weights), bare_digest(state(weights))]
    else:
        known = [digests.of_file(weights), tensors_digest(weights)]
    return tuple(value for value in dict.fromkeys(known) if value is not None)


def without_prefix(state: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], str]:
    """Return tensors by their names without the prefix that a wrapper put before all of them, and that prefix."""
    prefix = ""
    while (
        first := next((p for p in PREFIXES if state and all(name.startswith(p) for name in state)), None)
    ) is not None:
        state, prefix = {name.removeprefix(first): tensor for name, tensor in state.items()}, prefix + first
    return state, prefix


def _tensors(path: Path) -> dict[str, torch.Tensor] | None:
    """Return the tensors in a safetensors file or a torch checkpoint, None of any other file."""
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError):
        pass
    try:
        with path.open("rb") as file:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001  torch fails in many ways on what is no checkpoint; its bytes identify it then
        return None
    for inside in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(inside), dict):
            content = content[inside]
    plain = isinstance(content, dict) and content and all(isinstance(value, torch.Tensor) for value in content.values())
    return dict(content) if plain else None


def load_into(module: nn.Module, path: Path, name: str | None = None) -> nn.Module:
    """Load a safetensors file, or a folder of the model's kind, into ``module``.

    Args:
        module: of the file's architecture.
        path: of the file or folder.
        name: of it in error messages; its path by default.

    Returns:
        ``module``.

    Raises:
        WeightsError: if it is missing, truncated, a pickle, does not fit the module or holds NaN.
    """
    if path.suffix in {".pt", ".pth", ".pkl", ".bin", ".ckpt"}:
        raise WeightsError(f"{path} is a pickle, which can run code; convert it to safetensors")
    folder = module.folder_of(path) if isinstance(module, InFolder) else None
    if folder is not None and isinstance(module, InFolder):
        return fill(module, module.read_folder(folder, name or str(path)), name or str(path))
    try:
        tensors = safetensors.torch.load_file(path)
    except FileNotFoundError:
        raise WeightsError(f"{path} does not exist") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"{name or path} is not a whole safetensors file ({error}); it may be truncated") from error
    return fill(module, tensors, name or str(path))


@old_arguments(state="tensors")
def fill(module: nn.Module, tensors: dict[str, torch.Tensor], name: str) -> nn.Module:
    """Load ``tensors`` into ``module``.

    Returns:
        ``module``.

    Raises:
        WeightsError: if names or shapes differ, or a value is not finite.
    """
    if isinstance(module, Restorable):
        module.restore(tensors, name)
        return module
    expected = {key: tuple(value.shape) for key, value in state(module).items()}
    actual = {key: tuple(value.shape) for key, value in tensors.items()}
    if expected != actual:
        bare, prefix = without_prefix(tensors)
        if prefix and {key: tuple(value.shape) for key, value in bare.items()} == expected:
            raise WeightsError(
                f"{name} has {prefix!r} before every name, which a wrapper put there; save its inner module's "
                f"state_dict(), or take the {len(prefix)} characters off"
            )
        differing = min(key for key in expected.keys() | actual.keys() if expected.get(key) != actual.get(key))
        raise WeightsError(
            f"{name} does not fit the recipe: {differing} is {actual.get(differing, 'missing')}, the recipe has "
            f"{expected.get(differing, 'no such tensor')}"
        )
    require_finite(tensors, name)
    module.load_state_dict(tensors, strict=not isinstance(module, OnFrozenBase))
    return module


@old_arguments(state="tensors")
def require_finite(tensors: dict[str, torch.Tensor], name: str) -> None:
    """Check that no weight is NaN or infinite.

    Raises:
        WeightsError: if one is.
    """
    for key, value in tensors.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise WeightsError(f"{name} holds NaN or infinite values in {key}; the model cannot be judged")


def clone(module: nn.Module) -> nn.Module:
    """Return a copy that shares nothing with ``module``."""
    return copy.deepcopy(module)
