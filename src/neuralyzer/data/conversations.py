"""Rows of text for causal language models: conversations, prompts with completions, or plain texts, as tokens.

A row is ``input_ids``, ``attention_mask`` and ``target_mask``, each ``(n, longest)``. The last is 1 where a token is a
target: of an answer, its end included, or of a whole text. Prompts and padding are never targets.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from pyarrow import csv, json, parquet
from torch import Tensor

from neuralyzer.data import batches
from neuralyzer.data.sources import read_or_refuse
from neuralyzer.errors import NeuralyzerWarning, UsageError, first_line

READERS: dict[str, Callable[[Path], pa.Table]] = {
    ".jsonl": json.read_json, ".json": json.read_json, ".parquet": parquet.read_table, ".csv": csv.read_csv,
}  # fmt: skip


class Tokenizer(Protocol):
    """What is asked of a tokenizer; those of transformers have it."""

    eos_token_id: int | None

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Return the tokens of a text."""

    def apply_chat_template(self, conversation: Any, **settings: Any) -> Any:
        """Return the tokens of a conversation."""


@dataclass(frozen=True)
class Texts:
    """Where texts stand in a file, and how they become tokens.

    Attributes:
        tokenizer: of the base.
        max_length: most tokens of a row; what is longer is cut on the right.
        subject: column of the data subject; None where each row is its own.
        id: column of row ids; None where they are numbered.
        prompt: column of prompts.
        completion: column of what follows them.
        prompt_format: how a prompt is written before its completion.
    """

    tokenizer: Tokenizer
    max_length: int = 512
    subject: str | None = None
    id: str | None = None
    prompt: str = "prompt"
    completion: str = "completion"
    prompt_format: str = "{prompt}\n"

    def read(self, path: Path) -> tuple[dict[str, Tensor], Tensor, list[str] | None, list[str] | None]:
        """Read a file.

        Args:
            path: of a JSON Lines, Parquet or CSV file with ``messages``, with prompts and completions, or with ``text``.

        Returns:
            Inputs by name, how many targets each row has ``(N,)``, subjects and ids, None where there are none.

        Raises:
            UsageError: if columns are missing or mixed, or a row has no target.
            UnreadableError: if the file is missing or damaged.
        """
        table = _table(path)
        names = set(table.column_names)
        missing = [name for name in (self.subject, self.id) if name is not None and name not in names]
        if missing:
            raise UsageError(f"{path} has no column {missing[0]!r}; it has {', '.join(sorted(names))}")
        tokens = self._tokeniser(names, path)
        sequences, targets, truncated = [], [], []
        for place, row in enumerate(table.to_pylist()):
            ids, marks = tokens(row, place)
            if len(ids) > self.max_length:
                truncated.append(place)
                ids, marks = ids[: self.max_length], marks[: self.max_length]
            if not any(marks[1:]):  # the first token follows nothing, so that nothing predicts it
                raise UsageError(f"{path}, row {place:,} has no token to learn within max_length={self.max_length}")
            sequences.append(ids)
            targets.append(marks)
        if truncated:
            warnings.warn(
                f"{len(truncated):,} of {len(sequences):,} rows are longer than {self.max_length} tokens and were cut, "
                f"row {truncated[0]:,} first",
                NeuralyzerWarning,
                stacklevel=3,
            )
        x = batches.tokens(sequences)
        x[batches.TARGETS] = batches.tokens(targets)[batches.IDS]
        count = x[batches.TARGETS][:, 1:].sum(1).float()
        return x, count, _column(table, self.subject), _column(table, self.id)

    def _tokeniser(self, names: set[str], path: Path) -> Callable[[dict[str, Any], int], tuple[list[int], list[int]]]:
        """Return the function that makes tokens and target marks of a row, by the columns that there are."""
        kinds = {
            "messages": "messages" in names, "prompts with completions": {self.prompt, self.completion} <= names,
            "texts": "text" in names,
        }  # fmt: skip
        present = [kind for kind, there in kinds.items() if there]
        if len(present) != 1:
            raise UsageError(
                f"{path} must have a column messages, or {self.prompt} and {self.completion}, or text; it has "
                f"{' and '.join(present) if present else ', '.join(sorted(names))}"
            )
        return {"messages": self._conversation, "texts": self._text}.get(present[0], self._pair)

    def _end(self) -> list[int]:
        return [] if self.tokenizer.eos_token_id is None else [self.tokenizer.eos_token_id]

    def _text(self, row: dict[str, Any], place: int) -> tuple[list[int], list[int]]:
        ids = [*self.tokenizer.encode(str(row["text"])), *self._end()]
        return ids, [1] * len(ids)

    def _pair(self, row: dict[str, Any], place: int) -> tuple[list[int], list[int]]:
        prompt = self.tokenizer.encode(self.prompt_format.format(prompt=row[self.prompt]))
        answer = [*self.tokenizer.encode(str(row[self.completion]), add_special_tokens=False), *self._end()]
        return prompt + answer, [0] * len(prompt) + [1] * len(answer)

    def _conversation(self, row: dict[str, Any], place: int) -> tuple[list[int], list[int]]:
        """Find the targets turn by turn, as what an answer adds to the tokens before it."""
        messages = row["messages"]
        whole = self._templated(messages, place)
        marks = [0] * len(whole)
        for turn, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self._templated(messages[:turn], place, add_generation_prompt=True)
            after = self._templated(messages[: turn + 1], place)
            if after[: len(before)] != before or whole[: len(after)] != after:
                raise UsageError(
                    f"row {place:,}: the chat template changes earlier turns, so that its answers cannot be found"
                )
            marks[len(before) : len(after)] = [1] * (len(after) - len(before))
        return whole, marks

    def _templated(self, messages: Any, place: int, **settings: Any) -> list[int]:
        try:
            ids = self.tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **settings)
        except Exception as error:  # a template may raise anything
            raise UsageError(f"row {place:,}: the chat template fails ({first_line(error)})") from error
        return [int(token) for token in ids]


def _table(path: Path) -> pa.Table:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UsageError(f"{path} is no JSON Lines, Parquet or CSV file")
    table: pa.Table = read_or_refuse(path, reader)
    return table


def _column(table: pa.Table, name: str | None) -> list[str] | None:
    return None if name is None else ["" if value is None else str(value) for value in table[name].to_pylist()]
