"""Rows of text for causal language models: conversations, prompts with completions, or plain texts, as tokens.

A row is ``input_ids``, ``attention_mask`` and ``target_mask``, each ``(n, longest)``. The last is 1 where a token is a
target: of an answer, its end included, or of a whole text. Prompts and padding are never targets.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from neuralyzer.data import batches, texts
from neuralyzer.data.columns import TableColumns
from neuralyzer.data.holding import ArrayRows
from neuralyzer.data.layout import all_keyed
from neuralyzer.data.saved_dataset import is_saved, read_saved
from neuralyzer.data.sources import Parts, read_or_refuse
from neuralyzer.data.text_files import CsvFormat, JsonFormat
from neuralyzer.errors import NeuralyzerWarning, UsageError, first_line


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
        subject_key: makes one name of a subject's several spellings.
        lenient: whether the columns of subjects and ids may be missing, as in a holdout.
        separator: of a CSV file.
        encoding: of a CSV file.
    """

    tokenizer: Tokenizer
    max_length: int = 512
    subject: str | None = None
    id: str | None = None
    prompt: str = "prompt"
    completion: str = "completion"
    prompt_format: str = "{prompt}\n"
    subject_key: Callable[[str], str] | None = None
    lenient: bool = False
    separator: str = ","
    encoding: str = "utf-8"

    def read(self, path: Path) -> Parts:
        """Read a file.

        Args:
            path: of a JSON Lines, Parquet or CSV file, or the folder of a data set that ``save_to_disk`` of ``datasets``
                wrote; with ``messages``, with prompts and completions, or with ``text``.

        Returns:
            The rows; a row's target is how many tokens it has to learn.

        Raises:
            UsageError: if columns are missing or mixed, a row lacks its text, or a row has no target.
            UnreadableError: if the file is missing or damaged.
        """
        table = self._table(path)
        names = set(table.column_names)
        missing = [name for name in (self.subject, self.id) if name is not None and name not in names]
        if missing and not self.lenient:
            raise UsageError(f"{path} has no column {missing[0]!r}; it has {', '.join(sorted(names))}")
        if not len(table):
            raise UsageError(f"{path} has no rows")
        tokens, needed = self._tokeniser(names, path)
        sequences, targets, truncated = [], [], []
        for place, row in enumerate(table.select(needed).to_pylist()):
            lacking = [name for name in needed if row[name] is None]
            if lacking:
                raise UsageError(f"{path}, row {place:,} has no {lacking[0]}; give each row one, or leave the row out")
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
        subjects, row_ids = self._column(table, self.subject, path), self._column(table, self.id, path)
        if subjects is not None and self.subject_key is not None:
            subjects = all_keyed(self.subject_key, subjects)
        if row_ids is not None:
            row_ids = texts.as_texts(row_ids, f"{path}: {self.id!r}")
        return Parts(ArrayRows(x, count), subjects, row_ids, None, TableColumns(table))

    def _table(self, path: Path) -> pa.Table:
        if is_saved(path):
            return read_or_refuse(path, read_saved)
        named = [name for name in (self.subject, self.id) if name is not None]
        json = JsonFormat(named)
        reader: Callable[[Path], pa.Table] | None = {
            ".jsonl": json.read, ".json": json.read, ".parquet": parquet.read_table,
            ".csv": CsvFormat(named, self.separator, self.encoding).read,
        }.get(path.suffix.lower())  # fmt: skip
        if reader is None:
            raise UsageError(f"{path} is no JSON Lines, Parquet or CSV file, and no folder of datasets")
        table = read_or_refuse(path, reader)
        # Arrow's reader of JSON adds a column that it was told is text and that no row has.
        return table.drop_columns(
            [name for name in named if name in table.column_names and table[name].null_count == len(table)]
        )

    def _column(self, table: pa.Table, name: str | None, path: Path) -> np.ndarray | None:
        """Return a column as texts ``(N,)``; None where none is named, or a lenient reader misses it."""
        if name is None or name not in table.column_names:
            return None
        return texts.of_column(table[name], f"{path}: {name!r}")

    def _tokeniser(
        self, names: set[str], path: Path
    ) -> tuple[Callable[[dict[str, Any], int], tuple[list[int], list[int]]], list[str]]:
        """Return the function that makes tokens and target marks of a row, and the columns that it needs."""
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
        return {
            "messages": (self._conversation, ["messages"]), "texts": (self._text, ["text"]),
        }.get(present[0], (self._pair, [self.prompt, self.completion]))  # fmt: skip

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
        if not all(isinstance(message, dict) and message.get("role") for message in messages):
            raise UsageError(f"row {place:,}: each of its messages needs a role and a content")
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
