"""The tokens that are not text: one table, with ids that never move.

Every codling tokenizer starts with these, so a stage may name them without a tokenizer at hand. They are
SentencePiece control symbols: encoding text never yields one, whatever the text spells. The reserved ones let
a later version name a new token without changing an id or the shape of an embedding.

Source: ours; the report names no special tokens.
"""

from typing import Final, NamedTuple


class SpecialToken(NamedTuple):
    """A token that only the house itself may put into a sequence."""

    id: int
    text: str


UNK: Final = SpecialToken(0, "<unk>")
"""Never produced, as unknown characters fall back to bytes; SentencePiece insists on having one."""
BOS: Final = SpecialToken(1, "<s>")
"""Starts a document or a conversation."""
EOS: Final = SpecialToken(2, "</s>")
"""Ends a document."""
PAD: Final = SpecialToken(3, "<pad>")
"""Fills the rows of a batch."""
SYSTEM: Final = SpecialToken(4, "<|system|>")
"""Starts the system turn."""
USER: Final = SpecialToken(5, "<|user|>")
"""Starts a user turn."""
ASSISTANT: Final = SpecialToken(6, "<|assistant|>")
"""Starts an assistant turn."""
TOOL: Final = SpecialToken(7, "<|tool|>")
"""Starts a turn that holds the result of one tool call."""
TOOLS: Final = SpecialToken(8, "<|tools|>")
"""Inside the system turn: the JSON list of the functions that may be called follows."""
TOOL_CALL: Final = SpecialToken(9, "<|tool_call|>")
"""Inside an assistant turn: the JSON of one call follows."""
END: Final = SpecialToken(10, "<|end|>")
"""Ends a turn."""
RESERVED: Final = tuple(SpecialToken(11 + index, f"<|reserved_{index}|>") for index in range(8))
"""Not used yet."""

SPECIAL_TOKENS: Final = (UNK, BOS, EOS, PAD, SYSTEM, USER, ASSISTANT, TOOL, TOOLS, TOOL_CALL, END, *RESERVED)
"""All of them; a token's place in this table is its id."""

FIRST_BYTE_ID: Final = len(SPECIAL_TOKENS)
"""Right after them comes one piece for each byte value, so that any text can be spelled."""
FIRST_LEARNED_ID: Final = FIRST_BYTE_ID + 256
"""From here on the pieces are learned."""
