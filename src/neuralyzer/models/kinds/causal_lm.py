"""Causal language models from a local Hugging Face folder, trained whole or by LoRA adapters on a frozen base."""

import copy
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from neuralyzer.errors import UsageError, WeightsError, first_line
from neuralyzer.models import weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.models.kinds.module import Module
from neuralyzer.models.language import row_readings
from neuralyzer.workspace import digests

PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "adapter_model.bin")
PREFIX = "base_model.model."  # before every name in PEFT's own files


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


@dataclass(frozen=True)
class CausalLanguageModel(Module):
    """The kind of causal language models: gradients and continued training; no stacks, and no gradients row by row."""

    name: ClassVar[str] = "causal language model"
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.GRADIENTS, Capability.CONTINUED})


class Reader(nn.Module):
    """A language model that gives each row's readings (``models.language``) in place of logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, target_mask: Tensor, predictions: bool = False
    ) -> Tensor:
        """Return readings ``(n, 4)`` of tokens ``(n, T)``, or the logits of all ``P`` target tokens, ``(P, V)``."""
        backbone: Any = getattr(self.model, str(self.model.base_model_prefix))
        head = self.get_output_embeddings()
        hidden = backbone(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)[0][:, :-1]
        wanted = target_mask[:, 1:].bool()
        if predictions:
            return head(hidden[wanted]).float()  # type: ignore[no-any-return]
        return row_readings(hidden, head, input_ids[:, 1:], wanted)

    def get_output_embeddings(self) -> nn.Module:
        """Return the layer that makes logits of hidden states."""
        head: nn.Module = self.model.get_output_embeddings()  # type: ignore[operator]
        return head


class AdaptedReader(Reader):
    """The same with adapters on a frozen base, which all copies share; PEFT's names are those of its tensors."""

    def __init__(self, model: nn.Module, base: str) -> None:
        super().__init__(model)
        self._base = base

    def trained_state(self) -> Mapping[str, Tensor]:
        """Return the adapters' tensors by the names that PEFT's ``adapter_model.safetensors`` has."""
        trained = {name: value for name, value in self.model.named_parameters() if value.requires_grad}
        return {PREFIX + name.replace(".default.", "."): value.detach() for name, value in trained.items()}

    def base_digest(self) -> str:
        """Return the SHA-256 of the base's files."""
        return self._base

    def restore(self, state: Mapping[str, Tensor], name: str) -> None:
        """Take over the tensors of an adapter.

        Args:
            state: by PEFT's names.
            name: what an error calls it.

        Raises:
            WeightsError: if they are no such adapter, or a value is not finite.
        """
        own = self.trained_state()
        if {key: value.shape for key, value in own.items()} != {key: value.shape for key, value in state.items()}:
            odd = sorted(set(own) ^ set(state))
            what = f"{odd[0]} is in one of them alone" if odd else "a tensor has another shape"
            raise WeightsError(f"{name} is no adapter of this recipe: {what}")
        weights.require_finite(dict(state), name)
        with torch.no_grad():
            for key, value in own.items():
                value.copy_(state[key])

    def __deepcopy__(self, memo: dict[int, Any]) -> "AdaptedReader":
        memo |= {id(value): value for value in self.model.parameters() if not value.requires_grad}
        other = self.__class__.__new__(self.__class__)
        memo[id(self)] = other
        other.__dict__ = copy.deepcopy(self.__dict__, memo)
        return other


def build(base: str, lora: Lora | None) -> Reader:
    """Return a new reader of the base, with adapters where they are asked for; drawn from torch's generator."""
    if lora is None:
        return Reader(_loaded(base))
    model = copy.deepcopy(_frozen(base), {id(value): value for value in _frozen(base).parameters()})
    from peft import LoraConfig, inject_adapter_in_model

    turned = any(type(layer).__name__ == "Conv1D" for layer in model.modules())  # GPT-2's layers hold W transposed
    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    config = LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, target_modules=targets, lora_dropout=lora.dropout, fan_in_fan_out=turned,
        task_type="CAUSAL_LM",
    )  # fmt: skip
    try:
        adapted = inject_adapter_in_model(config, model)
    except ValueError as error:
        raise UsageError(f"lora targets={lora.targets!r} fit no layer of {base} ({first_line(error)})") from error
    return AdaptedReader(adapted, digest_of(base))


def tokenizer_of(base: str | Path) -> Any:
    """Return the tokenizer in a base's folder.

    Raises:
        UsageError: if there is none, or it has more tokens than the base.
    """
    folder = require_base(base)
    transformers = _transformers()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder} has no tokenizer ({first_line(error)})") from error
    words = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True).vocab_size
    if len(tokenizer) > words:
        raise UsageError(f"the tokenizer of {folder} has {len(tokenizer):,} tokens and the base {words:,}")
    return tokenizer


def require_base(base: str | Path) -> Path:
    """Return a base's folder.

    Raises:
        UsageError: if it is none, its weights are pickled, or it is an adapter.
    """
    folder = Path(base)
    if not (folder / "config.json").exists():
        what = (
            "an adapter; name its base"
            if (folder / "adapter_config.json").exists()
            else "no model: it has no config.json"
        )
        raise UsageError(f"{folder} is {what}")
    if not list(folder.glob("*.safetensors")):
        pickled = next((name for name in PICKLES if (folder / name).exists()), None)
        how = f"{pickled} is a pickle, which can run code; convert it" if pickled else "there is none"
        raise UsageError(f"{folder} needs weights in safetensors: {how}")
    return folder


@cache
def digest_of(base: str) -> str:
    """Return the SHA-256 over the base's configuration and weights."""
    files = sorted([Path(base) / "config.json", *Path(base).glob("*.safetensors")])
    return digests.of_json([[path.name, digests.of_file(path)] for path in files])


@cache
def _frozen(base: str) -> nn.Module:
    """The base, read once a process; no copy changes it."""
    return _loaded(base).requires_grad_(False)


def _loaded(base: str) -> nn.Module:
    try:
        model: nn.Module = _transformers().AutoModelForCausalLM.from_pretrained(
            base, local_files_only=True, dtype=torch.float32
        )
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{base} cannot be read as a causal language model ({first_line(error)})") from error
    return model.eval()


def _transformers() -> Any:
    """Import transformers; where torchvision is installed and broken, without it."""
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
