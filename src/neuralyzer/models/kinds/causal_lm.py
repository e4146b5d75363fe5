"""Causal language models from a local Hugging Face folder, trained whole or by LoRA adapters on a frozen base."""

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError, first_line
from neuralyzer.models import language, weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.models.kinds import answers, bases, model_folders, stacked_linear
from neuralyzer.models.kinds.bases import digest_of, require_base, tokenizer_of
from neuralyzer.models.kinds.model_folders import Lora
from neuralyzer.models.kinds.module import Module
from neuralyzer.models.placement import Placement
from neuralyzer.progress import Progress

if TYPE_CHECKING:
    from neuralyzer.models.recipe import Recipe
    from neuralyzer.models.training import Observer

__all__ = ["CausalLanguageModel", "Lora", "build", "digest_of", "require_base", "tokenizer_of"]
PREFIX = "base_model.model."  # before every name in PEFT's own files


@dataclass(frozen=True)
class CausalLanguageModel(Module):
    """The kind of causal language models: gradients, continued training, and adapters in a stack; no gradients row by row.

    Attributes:
        base: folder of the base.
        dtype: number format that a frozen base is held in, one of ``bases.DTYPES``; adapters are float32.
    """

    base: str
    dtype: str = "float32"

    name: ClassVar[str] = "causal language model"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.GRADIENTS, Capability.CONTINUED, Capability.STACKED, Capability.TOKENS}
    )

    @property
    def bases(self) -> tuple[str, ...]:
        """Return the digests by which the base may be registered."""
        return bases.identities(self.base)

    def train(
        self,
        recipe: "Recipe",
        data: Data,
        seed: int,
        progress: Progress,
        observer: "Observer | None",
        placement: Placement,
    ) -> nn.Module:
        """Train as ``Module`` does, once the device is known to compute in the base's number format."""
        bases.require_dtype(bases.DTYPES[self.dtype], placement.device)
        return super().train(recipe, data, seed, progress, observer, placement)


class Reader(nn.Module):
    """A language model that gives each row's readings (``models.language``) in place of logits.

    It is kept by transformers' names of its tensors.

    Attributes:
        file_name: of the weights in a folder of such a model.
    """

    file_name: ClassVar[str] = model_folders.MODEL
    _what: ClassVar[str] = "model"

    def __init__(self, model: nn.Module, base: str, recompute: bool = False) -> None:
        super().__init__()
        self.model = model
        self._base, self._recompute = base, recompute

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        target_mask: Tensor,
        predictions: bool = False,
        memorisation: bool = False,
    ) -> Tensor:
        """Return readings of tokens ``(n, T)``.

        Returns:
            ``(n, 4)``, as ``CausalLM`` says; or the logits of all ``P`` target tokens, ``(P, V)``; or what the model
            repeats of each row, ``(n, 2)``.
        """
        backbone: Any = getattr(self.model, str(self.model.base_model_prefix))
        head = self.get_output_embeddings()
        hidden = backbone(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)[0][:, :-1]
        wanted = target_mask[:, 1:].bool()
        if predictions:
            return head(hidden[wanted]).float()  # type: ignore[no-any-return]
        read = language.memorisation if memorisation else language.row_readings
        return read(hidden, head, input_ids[:, 1:], wanted)

    def get_output_embeddings(self) -> nn.Module:
        """Return the layer that makes logits of hidden states."""
        head: nn.Module = self.model.get_output_embeddings()  # type: ignore[operator]
        return head

    def tokenizer(self) -> Any:
        """Return the tokenizer of the base."""
        return tokenizer_of(self._base)

    def answer(self, prompt: tuple[int, ...], most: int) -> list[int]:
        """Return the greedy continuation of a prompt, as ``answers.continued`` does."""
        return answers.continued(self.model, prompt, most)

    def train(self, mode: bool = True) -> "Reader":
        """Set the mode; in training, activations are made again on the way back where that was asked for."""
        if self._recompute:
            verb = "enable" if mode else "disable"
            names = (f"{kind}_checkpointing_{verb}" for kind in ("activation", "gradient"))  # the first since 5.23
            switch: Any = next(getattr(self.model, name) for name in names if hasattr(self.model, name))
            switch(*([{"use_reentrant": False}] if mode else []))
        return super().train(mode)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Reader":
        other = self.__class__.__new__(self.__class__)
        memo[id(self)] = other
        other.__dict__ = copy.deepcopy(self.__dict__, memo)
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process reads the base from its folder: neither its weights nor transformers' classes are pickled.
        return _rebuilt, (self._base, None, "float32", *self._kept())

    def _kept(self) -> tuple[Any, ...]:
        return self._recompute, self.training, dict(self.trained_state())

    def unstackable(self) -> str | None:
        """Return why such models cannot be trained side by side; None of adapters that are plain linear layers."""
        return stacked_linear.unstackable(self)

    def stacked(self, models: Sequence[nn.Module]) -> nn.Module:
        """Return one model with the adapters of all ``models`` in stacks, on the base that they share."""
        return stacked_linear.stacked(models)

    def trained_state(self) -> Mapping[str, Tensor]:
        """Return all tensors, by transformers' names."""
        return self.model.state_dict()

    def base_digest(self) -> str:
        """Return the SHA-256 of the base."""
        return digest_of(self._base)

    def restore(self, state: Mapping[str, Tensor], name: str) -> None:
        """Take over the tensors of another such model; a tied one may be missing.

        Args:
            state: by the names of ``trained_state``.
            name: what an error calls them.

        Raises:
            WeightsError: if they are of another recipe, or a value is not finite.
        """
        own = self.trained_state()
        places = {value.data_ptr(): state[key] for key, value in own.items() if key in state}
        tied = {key: places[value.data_ptr()] for key, value in own.items() if value.data_ptr() in places}
        state = tied | dict(state)
        model_folders.require_shapes(own, state, name, self._what)
        weights.require_finite(dict(state), name)
        with torch.no_grad():
            for key, value in own.items():
                value.copy_(state[key])

    def require_rows(self, data: Data, what: str) -> None:
        """Refuse rows that the base cannot read.

        Args:
            data: the rows.
            what: they are called in an error.

        Raises:
            UsageError: if they are no texts, have a token that the base lacks, or are longer than it reads.
        """
        config: Any = self.model.config
        longest = getattr(config, "max_position_embeddings", None)
        paraphrased = () if data.paraphrases is None else data.paraphrases.chunks()
        for x, _ in itertools.chain(data.chunks(), paraphrased):
            if not isinstance(x, dict) or batches.TARGETS not in x:
                raise UsageError(f"the {what} are no texts; read them by Data.from_texts")
            if int(x[batches.IDS].max()) >= config.vocab_size:
                raise UsageError(
                    f"the {what} have token {int(x[batches.IDS].max()):,} and the base {config.vocab_size:,} tokens: "
                    "they were made by another tokenizer"
                )
            if longest is not None and x[batches.IDS].shape[1] > longest:
                raise UsageError(
                    f"the {what} have a row of {x[batches.IDS].shape[1]:,} tokens, and the base reads {longest:,}; "
                    f"cut them by max_length={longest}"
                )

    def describe_in(self, folder: Path) -> None:
        """Write configuration and tokenizer, so that ``AutoModelForCausalLM.from_pretrained`` loads the folder."""
        model_folders.describe_model(folder, self.model, self._base)

    def folder_of(self, path: Path) -> Path | None:
        """Return the folder of an adapter or a model at ``path``; None where it is a file without a configuration."""
        return model_folders.folder_of(path)

    def read_folder(self, folder: Path, name: str) -> dict[str, Tensor]:
        """Return the tensors in a whole model's folder."""
        words: Any = self.model.config
        return model_folders.model_tensors(folder, words.vocab_size, name)


class AdaptedReader(Reader):
    """The same with adapters on a frozen base, which all copies share; PEFT's names are those of its tensors."""

    file_name: ClassVar[str] = model_folders.ADAPTER
    _what: ClassVar[str] = "adapter"

    def __init__(self, model: nn.Module, base: str, lora: Lora, recompute: bool = False) -> None:
        super().__init__(model, base, recompute)
        self._lora = lora

    def trained_state(self) -> Mapping[str, Tensor]:
        """Return the adapters' tensors by the names that PEFT's ``adapter_model.safetensors`` has."""
        trained = {name: value for name, value in self.model.named_parameters() if value.requires_grad}
        return {PREFIX + name.replace(".default.", "."): value.detach() for name, value in trained.items()}

    def describe_in(self, folder: Path) -> None:
        """Write the configuration, so that ``PeftModel.from_pretrained`` loads the folder."""
        self._lora.config(self.model, self._base).save_pretrained(str(folder))

    def read_folder(self, folder: Path, name: str) -> dict[str, Tensor]:
        """Return the tensors in an adapter's folder."""
        return model_folders.adapter_tensors(folder, self._base, self._lora, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Reader":
        memo |= {id(value): value for value in self.model.parameters() if not value.requires_grad}
        return super().__deepcopy__(memo)

    def __reduce__(self) -> tuple[Any, ...]:
        dtype = next((str(value.dtype) for value in self.model.parameters() if not value.requires_grad), "")
        return _rebuilt, (self._base, self._lora, dtype.removeprefix("torch."), *self._kept())


def build(base: str, lora: Lora | None, dtype: str = "float32", recompute: bool = False) -> Reader:
    """Return a new reader of the base, with adapters where they are asked for; drawn from torch's generator.

    Args:
        base: folder of the base.
        lora: settings of the adapters; None to train all weights.
        dtype: number format of the base's weights; adapters are float32, as PEFT keeps them.
        recompute: whether activations are made again on the way back (gradient checkpointing).

    Returns:
        The reader, in evaluation mode.

    Raises:
        UsageError: if the adapters fit no layer.
    """
    if lora is None:
        return Reader(bases.loaded(base), base, recompute)
    own = bases.frozen(base, dtype)
    model = copy.deepcopy(own, {id(value): value for value in own.parameters()})
    from peft import inject_adapter_in_model

    try:
        adapted = inject_adapter_in_model(lora.config(model), model)
    except ValueError as error:
        raise UsageError(f"lora targets={lora.targets!r} fit no layer of {base} ({first_line(error)})") from error
    for value in adapted.parameters():
        if value.requires_grad:
            value.data = value.data.float()
    return AdaptedReader(adapted, base, lora, recompute)


def _rebuilt(
    base: str, lora: Lora | None, dtype: str, recompute: bool, training: bool, state: dict[str, Tensor]
) -> Reader:
    """Return a reader as it was pickled; torch's generator is left as it is."""
    with torch.random.fork_rng(devices=[]):
        reader = build(base, lora, dtype, recompute)
    reader.restore(state, "the pickled model")
    return reader.train(training)
