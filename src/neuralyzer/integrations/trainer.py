"""``HistoryCallback``: records the history of a training by the ``Trainer`` of transformers, or by one made from it."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.models.kinds import bases
from neuralyzer.registry.record import Recorder

COLUMN = "neuralyzer_row"  # of a training set: each row's position in the data
TrainerCallback: Any = bases.import_transformers().TrainerCallback


def with_positions(dataset: Any) -> Any:
    """Return a ``datasets.Dataset`` with each row's position as a column, which the callback reads."""
    return dataset.add_column(COLUMN, list(range(len(dataset))))


class HistoryCallback(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
    """Records which rows each step was trained on, and a checkpoint every so many steps.

    The Trainer shuffles rows where no callback sees it. So each row carries its position (``with_positions``), and a
    hook before the model's ``forward`` takes it out of the batch and notes it: what is recorded is what was forwarded,
    whatever the order in which batches were loaded. The Trainer needs ``remove_unused_columns=False``.

    Checkpoints hold what a case of ``Recipe.causal_lm`` holds: an adapter by PEFT's names, or all weights.

    Args:
        path: a new folder for the run, such as ``.neuralyzer/runs/NAME``, where ``locate`` finds it.
        data: the training rows, in the order of the training set.
        base: folder of the base.
        every: steps between checkpoints.
        recipe: digest of the recipe, where the Trainer takes its very steps.
        seed: of the training.
    """

    def __init__(
        self,
        path: str | Path,
        data: Data,
        base: str | Path,
        every: int = 200,
        recipe: str | None = None,
        seed: int | None = None,
    ) -> None:
        self._base = bases.digest_of(base)
        self._recorder = Recorder(path, data, every, recipe, seed, base=self._base)
        self._forwarded: list[np.ndarray] = []
        self._hook: Any = None
        self._kept: _Kept | None = None

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, optimizer: Any = None, **_: Any
    ) -> None:
        """Write the checkpoint before the first step, and begin to note rows.

        Raises:
            UsageError: if the training was resumed, or several processes share it: their steps would be missing.
        """
        if state.global_step:
            raise UsageError(
                f"the training goes on from step {state.global_step}, and its first steps are not recorded"
            )
        if args.world_size > 1:
            raise UsageError(f"{args.world_size} processes train, and a history is recorded of one; train with one")
        self._kept = _Kept(model, self._base)
        self._recorder.begin(self._kept, optimizer)
        self._hook = model.register_forward_pre_hook(self._note, with_kwargs=True)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Record the rows that were forwarded since the step before."""
        self._recorder.step(np.concatenate(self._forwarded))
        self._forwarded = []

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write all steps so far, since what was saved has seen them."""
        self._recorder.flush()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write the last checkpoint and close the run."""
        if self._kept is not None:
            self._hook.remove()
            self._recorder.finish(self._kept)

    def _note(self, module: nn.Module, inputs: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Take the positions out of a batch, and note them where it is trained on.

        Returns:
            The arguments of ``forward`` without the positions.

        Raises:
            UsageError: if the batch has none.
        """
        rows = named.pop(COLUMN, None)
        if module.training:
            if rows is None:
                raise UsageError(
                    f"the batch has no {COLUMN}: give the Trainer with_positions(dataset), and remove_unused_columns=False"
                )
            self._forwarded.append(rows.reshape(-1).cpu().numpy())
        return inputs, named


class _Kept(nn.Module):
    """A Trainer's model as its checkpoints hold it."""

    def __init__(self, model: Any, base: str) -> None:
        super().__init__()
        self._model, self._base = [model], base  # in a list, so that it is no part of this module

    def trained_state(self) -> dict[str, Tensor]:
        """Return an adapter's tensors by PEFT's names, or all tensors of a model."""
        (model,) = self._model
        if not hasattr(model, "peft_config"):
            return dict(model.state_dict())
        from peft import get_peft_model_state_dict

        return dict(get_peft_model_state_dict(model))

    def base_digest(self) -> str:
        """Return the SHA-256 of the base."""
        return self._base
