"""Registered models: copies, models made from the project's, pretrained bases; and which derives from which."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from neuralyzer.errors import UnreadableError, UsageError
from neuralyzer.models.weights import tensors_digest
from neuralyzer.registry import manifests
from neuralyzer.workspace import atomic, digests
from neuralyzer.workspace.paths import Workspace, as_workspace


class Kind(StrEnum):
    """The relation of a model to the one that it came from."""

    COPY = "copy"
    FINE_TUNED = "fine-tuned"
    DISTILLED = "distilled"
    QUANTISED = "quantised"
    BASE = "base"


@dataclass(frozen=True)
class RegisteredModel:
    """A model that somebody registered.

    Attributes:
        name: of the model.
        digest: of its weights file, when it was registered.
        path: of that file; relative to the project if the file is inside it.
        kind: its relation to its parent.
        parent: digest of the weights that it was made from, or None.
        data: digest of the data set version that it was trained on, or None if unknown.
        tensors: digest of its tensors alone, which is that of every copy; None where the file has no plain tensors.
    """

    name: str
    digest: str
    path: str
    kind: str
    parent: str | None
    data: str | None
    tensors: str | None = None

    @property
    def identities(self) -> frozenset[str]:
        """Return the digests by which it is known: of its file, and of its tensors."""
        return frozenset(digest for digest in (self.digest, self.tensors) if digest is not None)

    def unreachable(self, workspace: Workspace) -> str:
        """Return why its weights cannot be reached; empty where they can."""
        place = workspace.root.parent / self.path
        if not place.is_file():
            return f"{self.path} does not exist"
        digest = digests.of_file(place)
        return "" if digest == self.digest else f"{self.path} holds other weights ({digest[:12]}) than were registered"


def register_model(
    workspace: Workspace | Path | str,
    name: str,
    weights: Path | str,
    *,
    kind: Kind | str = Kind.COPY,
    parent: str | None = None,
    data: str | None = None,
) -> RegisteredModel:
    """Register a model, so that ``locate`` finds it.

    Args:
        workspace: where it is registered.
        name: letters, digits, ``.``, ``_`` and ``-``.
        weights: its file, of any format; only digests are kept, of the file and of its tensors.
        kind: copy, fine-tuned, distilled, quantised, or base for one that training starts from.
        parent: what it was made from: a digest, or the name of another registered model; a copy needs none.
        data: what it was trained on: the digest or name of a registered data set version.

    Returns:
        The model.

    Raises:
        UsageError: if the name cannot name a file or names another model, the kind is unknown, or parent or data is
            neither a digest nor registered.
        UnreadableError: if the weights are missing.
        StorageError: if the disk is full.
    """
    place, weights = as_workspace(workspace), Path(weights).absolute()
    if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
        raise UsageError(f"model name {name!r} may have only letters, digits, '.', '_' and '-'")
    if kind not in list(Kind):
        raise UsageError(f"kind {kind!r} is none of {', '.join(Kind)}")
    if kind not in {Kind.COPY, Kind.BASE} and parent is None:
        raise UsageError(f"a {kind} model was made from another: give parent=, its digest or registered name")
    named = [(model.name, model.tensors or model.digest) for model in registered(place)]
    versions = manifests.datasets(place)
    labels = [(name, version.digest) for version in versions for name in (version.name, version.label)]
    inside = weights.is_relative_to(place.root.parent)
    model = RegisteredModel(
        name,
        digests.of_file(weights),
        os.path.relpath(weights, place.root.parent) if inside else str(weights),
        str(kind),
        _digest(parent, named, "parent", "model"),
        _digest(data, labels, "data", "data set"),
        tensors_digest(weights),
    )
    file = place.models / f"{name}.json"
    if file.exists() and replace(_read(file), tensors=model.tensors) != model:  # early registrations have no tensors
        raise UsageError(f"model {name!r} is registered already, and nothing is overwritten; choose another name")
    atomic.write_json(file, vars(model))
    return model


def registered(workspace: Workspace | Path | str) -> list[RegisteredModel]:
    """Return all registered models, by name."""
    return [_read(file) for file in sorted(as_workspace(workspace).models.glob("*.json"))]


def derived(models: Sequence[RegisteredModel], weights: Iterable[str]) -> list[RegisteredModel]:
    """Return the copies of some weights, what was made from them, and what was made from that in turn.

    Args:
        models: all that are registered.
        weights: digests.

    Returns:
        Models in the order in which they are reached; each once.
    """
    known, descendants = set(weights), list[RegisteredModel]()
    while True:
        new = [m for m in models if m not in descendants and (m.identities & known or m.parent in known)]
        if not new:
            return descendants
        descendants += new
        known |= {digest for model in new for digest in model.identities}


def _digest(given: str | None, known: Sequence[tuple[str, str]], argument: str, what: str) -> str | None:
    if given is None or re.fullmatch(r"[0-9a-f]{64}", given):
        return given
    matching = sorted({digest for name, digest in known if name == given})
    if len(matching) > 1:
        raise UsageError(f"{argument} {given!r} names {len(matching)} versions; give one's digest")
    if not matching:
        raise UsageError(f"{argument} {given!r} is neither a digest nor the name of a registered {what}")
    return matching[0]


def _read(file: Path) -> RegisteredModel:
    content: Any = atomic.read_json(file)
    try:
        return RegisteredModel(**content)
    except TypeError as error:
        raise UnreadableError(f"{file} does not describe a model ({error})") from error
