"""Folders of fine-tuned language models: PEFT's of an adapter, transformers' of a whole model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from neuralyzer.errors import UsageError, WeightsError
from neuralyzer.models.kinds import bases
from neuralyzer.workspace import atomic

ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
MODEL, MODEL_CONFIG = "model.safetensors", "config.json"
# Settings of PEFT that change what an adapter computes though its tensors have the same shapes, or that add tensors.
PLAIN: dict[str, Any] = {
    "use_rslora": False, "use_dora": False, "rank_pattern": {}, "alpha_pattern": {}, "modules_to_save": None,
    "bias": "none", "lora_bias": False, "trainable_token_indices": None,
}  # fmt: skip


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685).

    Attributes:
        r: rank.
        alpha: what the update is scaled by, over the rank.
        targets: names of the layers that get one; ``all-linear`` for every linear layer but the head.
        dropout: of the adapters' inputs in training.
    """

    r: int = 16
    alpha: int = 32
    targets: str | tuple[str, ...] = "all-linear"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.r < 1 or self.alpha <= 0:
            raise UsageError(f"r ({self.r}) and alpha ({self.alpha}) of lora must be above 0")

    def config(self, model: nn.Module, base: str | None = None) -> Any:
        """Return PEFT's configuration of such adapters on ``model``, which names ``base`` where it is given."""
        from peft import LoraConfig

        turned = any(type(layer).__name__ == "Conv1D" for layer in model.modules())  # GPT-2's layers hold W transposed
        return LoraConfig(
            r=self.r, lora_alpha=self.alpha, lora_dropout=self.dropout, fan_in_fan_out=turned, task_type="CAUSAL_LM",
            target_modules=self.targets if isinstance(self.targets, str) else list(self.targets),
            base_model_name_or_path=base,
        )  # fmt: skip


def file_of(path: Path) -> Path:
    """Return the file of weights in an adapter's or a model's folder; another path as it is."""
    return next((path / name for name in (ADAPTER, MODEL) if (path / name).exists()), path)


def folder_of(path: Path) -> Path | None:
    """Return the folder of an adapter or a model, given itself or its file; None of a file without a configuration."""
    if path.is_dir():
        return path
    config = {ADAPTER: ADAPTER_CONFIG, MODEL: MODEL_CONFIG}.get(path.name)
    return path.parent if config is not None and (path.parent / config).exists() else None


def base_in(path: Path) -> Path | None:
    """Return the folder that an adapter's configuration names as its base; None where it names none that is here."""
    folder = folder_of(path)
    if folder is None or not (folder / ADAPTER_CONFIG).exists():
        return None
    base = Path(str(atomic.read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path") or ""))
    return base if (base / MODEL_CONFIG).exists() else None


def adapter_tensors(folder: Path, base: str, lora: Lora, name: str) -> dict[str, Tensor]:
    """Return the tensors in an adapter's folder.

    Args:
        folder: that PEFT wrote.
        base: folder of the recipe's base.
        lora: the recipe's settings.
        name: of the folder in error messages.

    Returns:
        The tensors by PEFT's names.

    Raises:
        WeightsError: if it is no adapter, one for another base, with other settings, pickled or damaged.
    """
    if not (folder / ADAPTER_CONFIG).exists():
        whole = (folder / MODEL_CONFIG).exists()
        what = (
            "a whole model, as after merging; save the adapter alone" if whole else f"no adapter: no {ADAPTER_CONFIG}"
        )
        raise WeightsError(f"{name} is {what}")
    config = atomic.read_json(folder / ADAPTER_CONFIG)
    _require_base(str(config.get("base_model_name_or_path") or ""), base, name)
    wanted = {"peft_type": "LORA", "r": lora.r, "lora_alpha": lora.alpha, **PLAIN}
    for key, value in wanted.items():
        if (config.get(key) or value) != value:
            raise WeightsError(f"{name} is an adapter with {key}={config[key]!r}; the recipe's has {value!r}")
    tensors = _read(folder, ADAPTER, name)
    resized = next((key for key in tensors if ".lora_" not in key), None)
    if resized is not None:
        raise WeightsError(
            f"{name} holds {resized} beside its adapters, as after resizing the vocabulary; keep the base's vocabulary"
        )
    return tensors


def model_tensors(folder: Path, words: int, name: str) -> dict[str, Tensor]:
    """Return the tensors in a whole model's folder, by transformers' names.

    Args:
        folder: that transformers wrote.
        words: size of the base's vocabulary.
        name: of the folder in error messages.

    Returns:
        The tensors; those that are tied to others may be missing.

    Raises:
        WeightsError: if it is no whole model, has another vocabulary, or is pickled or damaged.
    """
    if (folder / ADAPTER_CONFIG).exists():
        raise WeightsError(
            f"{name} is an adapter, and the recipe trains all weights (lora=None); merge it, or set lora"
        )
    if not (folder / MODEL_CONFIG).exists():
        raise WeightsError(f"{name} is no model: it has no {MODEL_CONFIG}")
    other = atomic.read_json(folder / MODEL_CONFIG).get("vocab_size", words)
    if other != words:
        raise WeightsError(f"{name} has a vocabulary of {other:,} tokens and the base {words:,}; do not resize it")
    return _read(folder, MODEL, name)


def describe_model(folder: Path, model: Any, base: str) -> None:
    """Write configuration and tokenizer of a whole model, whose weights stand beside them."""
    model.config.save_pretrained(folder)
    if model.generation_config is not None:
        model.generation_config.save_pretrained(folder)
    bases.tokenizer_of(base).save_pretrained(folder)


def _require_base(named: str, base: str, name: str) -> None:
    """Refuse an adapter whose configuration names another base; one that is not here is compared by its last name."""
    if not named:
        return
    here = (Path(named) / MODEL_CONFIG).exists()
    same = bases.digest_of(named) == bases.digest_of(base) if here else Path(named).name == Path(base).name
    if not same:
        raise WeightsError(f"{name} is an adapter for {named}, and the recipe's base is {base}; train it on that")


def _read(folder: Path, usual: str, name: str) -> dict[str, Tensor]:
    """Return the tensors of the usual file, or of a whole model's parts."""
    files = [folder / usual] if (folder / usual).exists() else sorted(folder.glob("model-*-of-*.safetensors"))
    if not files or (usual == ADAPTER and files != [folder / usual]):
        pickled = bases.pickle_in(folder)
        what = f"{pickled} is a pickle, which can run code; save it as safetensors" if pickled else f"it has no {usual}"
        raise WeightsError(f"{name} cannot be read: {what}")
    tensors: dict[str, Tensor] = {}
    for path in files:
        try:
            tensors |= safetensors.torch.load_file(path)
        except (safetensors.SafetensorError, OSError) as error:
            raise WeightsError(f"{name}: {path.name} is not a whole safetensors file ({error})") from error
    return tensors


def require_shapes(own: Mapping[str, Tensor], given: Mapping[str, Tensor], name: str, what: str) -> None:
    """Refuse tensors whose names or shapes are not those of the recipe's model.

    Raises:
        WeightsError: if one differs.
    """
    for key in sorted(own.keys() | given.keys()):
        if key not in own or key not in given:
            raise WeightsError(f"{name} is no {what} of this recipe: {key} is in one of them alone")
        if own[key].shape != given[key].shape:
            raise WeightsError(
                f"{name} is no {what} of this recipe: {key} is {tuple(given[key].shape)}, not {tuple(own[key].shape)}"
            )
