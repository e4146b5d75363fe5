"""CSV and JSON Lines files: which columns are always text, and how bytes are decoded."""

import codecs
import io
import json
import mmap
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv
from pyarrow import json as arrow_json

from neuralyzer.errors import UnreadableError, UsageError

BLOCK = 8 << 20  # bytes of a file read at once


@dataclass(frozen=True)
class CsvFormat:
    """The format of a CSV file.

    Attributes:
        text: columns that are text as it is written, such as ids: ``007`` stays ``007``.
        separator: between two cells, one character.
        encoding: of the file, by its name in Python.
    """

    text: Sequence[str] = ()
    separator: str = ","
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        if len(self.separator) != 1 or not self.separator.isascii():
            raise UsageError(f"separator {self.separator!r} must be one ASCII character, such as ';' or a tab")
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            raise UsageError(f"encoding {self.encoding!r} is unknown; try utf-8, latin-1 or cp1252") from None

    def check(self, path: Path) -> None:
        """Check that the file's bytes are of this encoding.

        Raises:
            UnreadableError: if they are not, with the first such line.
        """
        require_decodable(path, self.encoding)

    def read(self, path: Path) -> pa.Table:
        """Read the whole file."""
        return csv.read_csv(path, **self._options())

    def opened(self, path: Path) -> Any:
        """Return a reader of batches; types are those of the first block."""
        return csv.open_csv(path, **self._options(block_size=BLOCK))

    def _options(self, **reading: Any) -> dict[str, Any]:
        return {
            "read_options": csv.ReadOptions(encoding=self.encoding, **reading),
            "parse_options": csv.ParseOptions(delimiter=self.separator, newlines_in_values=True),
            "convert_options": csv.ConvertOptions(column_types=dict.fromkeys(self.text, pa.string())),
        }


@dataclass(frozen=True)
class JsonFormat:
    """The format of a JSON Lines file.

    Attributes:
        text: columns that are text; a number in them becomes the text that is written in the file.
    """

    text: Sequence[str] = ()

    def check(self, path: Path) -> None:
        """Check that the file's bytes are UTF-8.

        Raises:
            UnreadableError: if they are not, with the first such line.
        """
        require_decodable(path, "utf-8")

    def read(self, path: Path) -> pa.Table:
        """Read the whole file."""
        return arrow_json.read_json(self._source(path), parse_options=self._parsing)

    def opened(self, path: Path) -> Any:
        """Return a reader of batches; types are those of the first block."""
        reading = arrow_json.ReadOptions(block_size=BLOCK)
        return arrow_json.open_json(self._source(path), read_options=reading, parse_options=self._parsing)

    @property
    def _parsing(self) -> arrow_json.ParseOptions:
        schema = pa.schema([(name, pa.string()) for name in self.text])
        return arrow_json.ParseOptions(explicit_schema=schema if self.text else None)

    def _source(self, path: Path) -> Any:
        return _Lines(_as_text(path, self.text)) if self._has_numbers(path) else path

    def _has_numbers(self, path: Path) -> bool:
        """Return whether a column of text may hold numbers; a match within a text only costs time."""
        if not self.text or not path.stat().st_size:
            return False
        names = "|".join(re.escape(json.dumps(name, ensure_ascii=False)) for name in self.text)
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return re.search(rf"(?:{names})\s*:\s*[^\s\"n]".encode(), content) is not None


def require_decodable(path: Path, encoding: str) -> None:
    """Check that a file's bytes are text.

    Args:
        path: of the file.
        encoding: that it should have.

    Raises:
        UnreadableError: if they are not, with the line and the byte.
    """
    decoder, line = codecs.getincrementaldecoder(encoding)(), 1
    with path.open("rb") as file:
        while True:
            block = file.read(BLOCK)
            try:
                line += decoder.decode(block, final=not block).count("\n")
            except UnicodeDecodeError as error:
                line += error.object[: error.start].decode(encoding, "replace").count("\n")
                raise UnreadableError(
                    f"{path}: line {line:,} has the byte 0x{error.object[error.start]:02x}, which is not {encoding}; "
                    'save the file as UTF-8, or name the encoding of a CSV file, such as encoding = "latin-1"'
                ) from None
            if not block:
                return


def _as_text(path: Path, columns: Sequence[str]) -> Iterator[bytes]:
    """Return the lines of a JSON Lines file, with the numbers in some columns as text."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row, written = json.loads(line), json.loads(line, parse_int=str, parse_float=str)
            except json.JSONDecodeError as error:
                raise UnreadableError(f"{path}: line {number:,} is not JSON ({error})") from error
            if not isinstance(row, dict):
                raise UnreadableError(f"{path}: line {number:,} is a {type(row).__name__}, not a row with names")
            for name in columns:
                if isinstance(row.get(name), (list, dict)):
                    raise UsageError(f"{path}: line {number:,} has no plain {name!r}, but {line.strip()[:60]}")
                if name in row and row[name] is not None:
                    row[name] = str(written[name])
            yield json.dumps(row).encode() + b"\n"


class _Lines(io.RawIOBase):
    """Lines as a file that is read once from the beginning."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        super().__init__()
        self._lines, self._rest = lines, b""

    def readable(self) -> bool:
        """Return true."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with the next lines, as far as they fit into it."""
        parts, size = [self._rest], len(self._rest)
        while size < len(buffer) and (line := next(self._lines, b"")):
            parts.append(line)
            size += len(line)
        whole = b"".join(parts)
        count = min(len(whole), len(buffer))
        buffer[:count], self._rest = whole[:count], whole[count:]
        return count
