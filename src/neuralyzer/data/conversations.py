"""Rows of text for causal language models: conversations, prompts with completions, or plain texts, as tokens.

A row is ``input_ids``, ``attention_mask`` and ``target_mask``, each ``(n, longest)``. The last is 1 where a token is a
target: of an answer, its end included, or of a whole text. Prompts and padding are never targets.
"""

import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuralyzer.data import texts
from neuralyzer.data.columns import Columns, TableColumns
from neuralyzer.data.layout import all_keyed
from neuralyzer.data.paraphrases import Paraphrases, Prompts
from neuralyzer.data.saved_dataset import is_saved, read_saved
from neuralyzer.data.sources import Parts, parquet_columns, read_or_refuse, text_columns
from neuralyzer.data.text_files import CsvFormat, JsonFormat
from neuralyzer.data.token_rows import TokenRows, TokenWriter
from neuralyzer.data.tokenising import Conversation, Form, Marked, Pair, Plain, Row, Tokenizer
from neuralyzer.errors import NeuralyzerWarning, UsageError

CHUNK = 1024  # rows whose tokens are Python objects at once


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
        paraphrases: file of other prompts for the signal ``paraphrased``. Its column ``paraphrase`` has them; the column
            of row ids, or else that of prompts, says whose they are. A row may have several, or none.
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
    paraphrases: str | Path | None = None

    def read(self, path: Path) -> Parts:
        """Read a file; its tokens go to a temporary one.

        Args:
            path: of a JSON Lines, Parquet or CSV file, or the folder of a data set that ``save_to_disk`` of ``datasets``
                wrote; with ``messages``, with prompts and completions, or with ``text``.

        Returns:
            The rows; a row's target is how many tokens it has to learn.

        Raises:
            UsageError: if columns are missing or mixed, a row lacks its text, a row has no target, or a paraphrase is of
                no row or too long.
            UnreadableError: if a file is missing or damaged.
            StorageError: if the temporary file finds no space.
        """
        source = self._source(path)
        self._require(source.names, source.names, path)
        form = self._form(source.names, path)
        named = [name for name in (self.subject, self.id) if name in source.names]
        reader = _Reader(self, path, form, self._prompts(form, self.id in named))
        read: dict[str, list[np.ndarray]] = {name: [] for name in named}
        filled = set()
        for table in source.batches(list(dict.fromkeys([*form.columns, *named]))):
            for name in named:
                read[name].append(texts.of_column(table[name], f"{path}: {name!r}"))
                filled |= {name} if table[name].null_count < len(table) else set()
            ids = read[self.id][-1] if self.id in named else None
            for start in range(0, len(table), CHUNK):
                rows = table.slice(start, CHUNK).select(form.columns).to_pylist()
                reader.append(rows, None if ids is None else ids[start : start + CHUNK])
        if not reader.count:
            raise UsageError(f"{path} has no rows")
        self._require(filled, source.names, path)
        columns = {name: np.concatenate(read[name]) for name in filled}
        subjects, row_ids = (None if name is None else columns.get(name) for name in (self.subject, self.id))
        if subjects is not None and self.subject_key is not None:
            subjects = all_keyed(self.subject_key, subjects)
        if row_ids is not None:
            row_ids = texts.as_texts(row_ids, f"{path}: {self.id!r}")
        rows_of, paraphrases = reader.finish()
        return Parts(rows_of, subjects, row_ids, None, source, paraphrases)

    def _source(self, path: Path) -> Columns:
        """Return the columns of a file; a large one, other than a folder, is read in batches."""
        named = [name for name in (self.subject, self.id) if name is not None]
        if is_saved(path):
            source: Columns = TableColumns(read_or_refuse(path, read_saved))
        elif path.suffix.lower() in (".jsonl", ".json"):
            source = text_columns(path, JsonFormat(named))
        elif path.suffix.lower() == ".csv":
            source = text_columns(path, CsvFormat(named, self.separator, self.encoding))
        elif path.suffix.lower() == ".parquet":
            source = parquet_columns(path)
        else:
            raise UsageError(f"{path} is no JSON Lines, Parquet or CSV file, and no folder of datasets")
        if not isinstance(source, TableColumns):
            return source
        table = source.table
        # Arrow's reader of JSON adds a column that it was told is text and that no row has.
        empty = [name for name in named if name in table.column_names and table[name].null_count == len(table) > 0]
        return TableColumns(table.drop_columns(empty))

    def _require(self, present: Collection[str], names: Collection[str], path: Path) -> None:
        """Refuse a file without the columns of subjects and ids; ``names`` are those that it has."""
        missing = [name for name in (self.subject, self.id) if name is not None and name not in present]
        if missing and not self.lenient:
            others = ", ".join(sorted(set(names) - {missing[0]}))
            raise UsageError(f"{path} has no column {missing[0]!r}; it has {others}")

    def _form(self, names: Collection[str], path: Path) -> Form:
        """Return the form of the file's rows."""
        forms: dict[str, Form] = {
            "messages": Conversation(self.tokenizer),
            "prompts with completions": Pair(self.tokenizer, self.prompt, self.completion, self.prompt_format),
            "texts": Plain(self.tokenizer),
        }  # fmt: skip
        present = [kind for kind, form in forms.items() if set(form.columns) <= set(names)]
        if len(present) != 1:
            raise UsageError(
                f"{path} must have a column messages, or {self.prompt} and {self.completion}, or text; it has "
                f"{' and '.join(present) if present else ', '.join(sorted(names))}"
            )
        return forms[present[0]]

    def _prompts(self, form: Form, by_id: bool) -> Prompts | None:
        """Return the paraphrased prompts, by their rows' ids where rows and paraphrases have them."""
        if self.paraphrases is None:
            return None
        path = Path(self.paraphrases)
        if isinstance(form, Plain):
            raise UsageError(f"{path} has paraphrases of prompts, and plain texts have none")
        source = self._source(path)
        key = self.id if self.id is not None and by_id and self.id in source.names else self.prompt
        return Prompts.read(path, source, key, key != self.prompt)


class _Reader:
    """Makes tokens of rows, and of their paraphrases, some rows at a time."""

    def __init__(self, settings: Texts, path: Path, form: Form, prompts: Prompts | None) -> None:
        self.count = 0
        self._settings, self._path, self._form, self._prompts = settings, path, form, prompts
        self._own, self._reworded, self._owners = TokenWriter(), TokenWriter(), list[int]()
        self._truncated = list[int]()

    def append(self, rows: Sequence[Row], ids: np.ndarray | None) -> None:
        """Append rows, and the paraphrases of each by its id or by its prompt."""
        own, reworded = list[Marked](), list[Marked]()
        for row in rows:
            place = self.count + len(own)
            lacking = [name for name in self._form.columns if row[name] is None]
            if lacking:
                raise UsageError(
                    f"{self._path}, row {place:,} has no {lacking[0]}; give each row one, or leave the row out"
                )
            marked, longer = self._tokens(row, place)
            if longer:
                self._truncated.append(place)
            if self._prompts is not None:
                key = str(ids[len(own)]) if self._prompts.by_id and ids is not None else self._form.prompt(row)
                for prompt in self._prompts.of(key):
                    reworded.append(self._paraphrase(row, place, prompt, longer))
                    self._owners.append(place)
            own.append(marked)
        self._own.append(own)
        self._reworded.append(reworded)
        self.count += len(rows)

    def finish(self) -> tuple[TokenRows, Paraphrases | None]:
        """Return the rows and their paraphrases; refuse paraphrases of no row, and count the rows that were cut."""
        if self._prompts is not None:
            self._prompts.require_used(self._path)
        if self._truncated:
            warnings.warn(
                f"{len(self._truncated):,} of {self.count:,} rows are longer than {self._settings.max_length} tokens "
                f"and were cut, row {self._truncated[0]:,} first",
                NeuralyzerWarning,
                stacklevel=4,
            )
        own, reworded = self._own.rows(), self._reworded.rows()
        return own, None if self._prompts is None else Paraphrases.of(own, reworded, self._owners)

    def _tokens(self, row: Row, place: int) -> tuple[Marked, int]:
        """Return the tokens and marks of a row, and how many tokens were cut off."""
        most = self._settings.max_length
        ids, marks = self._form.tokens(row, place)
        if not any(marks[1:most]):  # the first token follows nothing, so that nothing predicts it
            raise UsageError(f"{self._path}, row {place:,} has no token to learn within max_length={most}")
        return (ids[:most], marks[:most]), max(0, len(ids) - most)

    def _paraphrase(self, row: Row, place: int, prompt: str, longer: int) -> Marked:
        """Return a row with another prompt and the same targets: where the row was cut, its last tokens are missing."""
        if self._form.prompt(row) is None:
            raise UsageError(f"{self._path}, row {place:,} has a paraphrase and no message of a user")
        ids, marks = self._form.tokens(self._form.reworded(row, prompt), place)
        count = len(ids) - longer
        if count > self._settings.max_length:
            raise UsageError(
                f"{self._settings.paraphrases}: with {prompt[:40]!r} row {place:,} of {self._path} has {count:,} tokens, "
                f"and max_length={self._settings.max_length}; shorten this paraphrase"
            )
        return ids[:count], marks[:count]
