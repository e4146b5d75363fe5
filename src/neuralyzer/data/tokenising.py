"""How a row of text becomes tokens and target marks: a conversation, a prompt with its completion, or a plain text."""

from dataclasses import dataclass
from typing import Any, Protocol

from neuralyzer.errors import UsageError, first_line

Row = dict[str, Any]
Marked = tuple[list[int], list[int]]  # the tokens of a row, and 1 for each that is a target


class Tokenizer(Protocol):
    """What is asked of a tokenizer; those of transformers have it."""

    eos_token_id: int | None

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Return the tokens of a text."""

    def apply_chat_template(self, conversation: Any, **settings: Any) -> Any:
        """Return the tokens of a conversation."""


class Form(Protocol):
    """One form that a row of text may have."""

    @property
    def columns(self) -> list[str]:
        """Return the columns that it needs."""

    def tokens(self, row: Row, place: int) -> Marked:
        """Return the tokens and target marks of the row at ``place``."""

    def prompt(self, row: Row) -> str | None:
        """Return the prompt; None where the row has none."""

    def reworded(self, row: Row, prompt: str) -> Row:
        """Return the row with another prompt in place of its own."""


@dataclass(frozen=True)
class Plain:
    """A plain text, which is learned whole."""

    tokenizer: Tokenizer

    @property
    def columns(self) -> list[str]:
        """Return the column of texts."""
        return ["text"]

    def tokens(self, row: Row, place: int) -> Marked:
        """Mark all tokens."""
        ids = [*self.tokenizer.encode(str(row["text"])), *_end(self.tokenizer)]
        return ids, [1] * len(ids)

    def prompt(self, row: Row) -> None:
        """Return None."""

    def reworded(self, row: Row, prompt: str) -> Row:
        """Return the row, which has no prompt."""
        return row


@dataclass(frozen=True)
class Pair:
    """A prompt with its completion, which is learned.

    Attributes:
        tokenizer: of the base.
        asked: column of prompts.
        completion: column of what follows them.
        written: how a prompt is written before its completion.
    """

    tokenizer: Tokenizer
    asked: str
    completion: str
    written: str

    @property
    def columns(self) -> list[str]:
        """Return the columns of prompts and completions."""
        return [self.asked, self.completion]

    def tokens(self, row: Row, place: int) -> Marked:
        """Mark the completion and the end of the text."""
        prompt = self.tokenizer.encode(self.written.format(prompt=row[self.asked]))
        completion = self.tokenizer.encode(str(row[self.completion]), add_special_tokens=False)
        answer = [*completion, *_end(self.tokenizer)]
        return prompt + answer, [0] * len(prompt) + [1] * len(answer)

    def prompt(self, row: Row) -> str:
        """Return the prompt as it stands in its column."""
        return str(row[self.asked])

    def reworded(self, row: Row, prompt: str) -> Row:
        """Return the row with another prompt."""
        return row | {self.asked: prompt}


@dataclass(frozen=True)
class Conversation:
    """Messages, of which the assistant's are learned."""

    tokenizer: Tokenizer

    @property
    def columns(self) -> list[str]:
        """Return the column of messages."""
        return ["messages"]

    def tokens(self, row: Row, place: int) -> Marked:
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

    def prompt(self, row: Row) -> str | None:
        """Return the user's first message."""
        return next((str(message["content"]) for message in row["messages"] if message["role"] == "user"), None)

    def reworded(self, row: Row, prompt: str) -> Row:
        """Return the row with another first message of the user."""
        messages = [dict(message) for message in row["messages"]]
        next(message for message in messages if message["role"] == "user")["content"] = prompt
        return row | {"messages": messages}

    def _templated(self, messages: Any, place: int, **settings: Any) -> list[int]:
        try:
            ids = self.tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **settings)
        except Exception as error:  # a template may raise anything
            raise UsageError(f"row {place:,}: the chat template fails ({first_line(error)})") from error
        return [int(token) for token in ids]


def _end(tokenizer: Tokenizer) -> list[int]:
    return [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
