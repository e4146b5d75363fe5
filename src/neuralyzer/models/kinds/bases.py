"""Bases of language models: local Hugging Face folders, known by the digest of their configuration and weights."""

import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from neuralyzer.errors import UsageError, first_line
from neuralyzer.workspace import atomic, digests

PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "adapter_model.bin")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}  # that a frozen base can be held in


def require_base(base: str | Path) -> Path:
    """Return a base's folder.

    Raises:
        UsageError: if it is none, its weights are pickled or quantised, or it is an adapter.
    """
    folder = Path(base)
    if not (folder / "config.json").exists():
        adapter = (folder / "adapter_config.json").exists()
        raise UsageError(f"{folder} is {'an adapter; name its base' if adapter else 'no model: it has no config.json'}")
    if not list(folder.glob("*.safetensors")):
        pickled = pickle_in(folder)
        how = f"{pickled} is a pickle, which can run code; convert it" if pickled else "there is none"
        raise UsageError(f"{folder} needs weights in safetensors: {how}")
    quantised = atomic.read_json(folder / "config.json").get("quantization_config")
    if quantised:
        how = quantised.get("quant_method", "some method") if isinstance(quantised, dict) else "some method"
        raise UsageError(f"{folder} is quantised (by {how}), and gradients need its plain weights; name those")
    return folder


def pickle_in(folder: Path) -> str | None:
    """Return the name of a pickle that holds a folder's weights; None where there is none."""
    return next((name for name in PICKLES if (folder / name).exists()), None)


def tokenizer_of(base: str | Path) -> Any:
    """Return the tokenizer in a base's folder.

    Raises:
        UsageError: if there is none, or it has more tokens than the base.
    """
    folder = require_base(base)
    transformers = import_transformers()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder} has no tokenizer ({first_line(error)})") from error
    words = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True).vocab_size
    if len(tokenizer) > words:
        raise UsageError(f"the tokenizer of {folder} has {len(tokenizer):,} tokens and the base {words:,}")
    return tokenizer


def digest_of(base: str | Path) -> str:
    """Return the SHA-256 over a base's configuration and weights."""
    return identities(str(base))[0]


@cache
def identities(base: str) -> tuple[str, ...]:
    """Return the digests by which a base may be registered: of the folder, then of each of its files of weights."""
    files = sorted([Path(base) / "config.json", *Path(base).glob("*.safetensors")])
    named = [[path.name, digests.of_file(path)] for path in files]
    return (digests.of_json(named), *(digest for name, digest in named if name.endswith(".safetensors")))


@cache
def frozen(base: str, dtype: str) -> nn.Module:
    """Return the base's model, read once a process; no copy changes it."""
    return loaded(base, dtype).requires_grad_(False)


def loaded(base: str, dtype: str = "float32") -> nn.Module:
    """Return a new model with the base's weights.

    Raises:
        UsageError: if the folder holds no causal language model.
    """
    try:
        model: nn.Module = import_transformers().AutoModelForCausalLM.from_pretrained(
            base, local_files_only=True, dtype=DTYPES[dtype]
        )
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{base} cannot be read as a causal language model ({first_line(error)})") from error
    for part in model.modules():
        if hasattr(part, "name_or_path"):
            part.name_or_path = ""  # type: ignore[assignment]  # a base is known by its digest, wherever it stands
    return model.eval()


def require_dtype(dtype: torch.dtype, device: torch.device) -> None:
    """Refuse a number format that a device cannot compute in.

    Raises:
        UsageError: if it cannot.
    """
    name = str(dtype).removeprefix("torch.")
    try:
        one = torch.ones(2, 2, device=device).to(dtype)
        (one @ one).float()
    except (RuntimeError, TypeError) as error:
        raise UsageError(f"the device {str(device)!r} does not compute in {name}; take dtype='float32'") from error


def import_transformers() -> Any:
    """Import transformers; where torchvision is installed and broken, without it.

    Returns:
        The module.

    Raises:
        UsageError: if it is not installed.
    """
    if "torchvision" not in sys.modules:
        try:
            import torchvision  # noqa: F401
        except Exception:  # noqa: BLE001  it fails in many ways beside another torch
            sys.modules["torchvision"] = None  # type: ignore[assignment]
    try:
        import transformers
    except ImportError as error:
        raise UsageError("language models need pip install 'neuralyzer-unlearning[language]'") from error
    transformers.utils.logging.disable_progress_bar()  # stderr is left to the one line of an error
    return transformers
