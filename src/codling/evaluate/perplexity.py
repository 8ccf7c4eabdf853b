"""How well a bundle predicts a file of the user's.

The text becomes rows as in training: a document starts with the token of its start, is cut into rows of the model's
context length that do not overlap, and its positions start over in each row. So every token of the text is
predicted exactly once, from what precedes it in its document and its row. The end of a document is not predicted: a
file may be any part of a longer text. An imported tokenizer may have no start token: then a document's first token is
not predicted, and its bytes are not counted.
"""

from pathlib import Path

from codling.data.loader import iterate_once
from codling.data.pack import PackedRows
from codling.data.prepare import token_lengths_bytes
from codling.data.sources import read_documents
from codling.data.tokens import tokenize_documents
from codling.errors import UserError
from codling.evaluate.score import TextScore, score_batches
from codling.model.transformer import Transformer
from codling.tokenizer.imported import TextTokenizer

BATCH_SIZE_ROWS = 8


def read_text(path: Path) -> list[str]:
    """The documents of a file: of `.jsonl` (or `.jsonl.gz`) one a record, of anything else one, the whole file.

    Errors: `UserError` for a file that is missing, holds no text, or is not UTF-8.
    """
    if ".jsonl" in path.suffixes:
        return read_documents(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; convert it to UTF-8") from None
    if not text.strip():
        raise UserError(f"{path}: holds no text")
    return [text]


def score_text(model: Transformer, tokenizer: TextTokenizer, documents: list[str]) -> TextScore:
    """Likelihood of every token of the documents."""
    tokens = tokenize_documents(documents, lambda text: [*tokenizer.begin_ids, *tokenizer.encode(text)])
    length = model.config.context_length_tokens
    rows = PackedRows(tokens, row_length_tokens=length, seed=0, split_documents=True)
    batches = iterate_once(rows, min(BATCH_SIZE_ROWS, rows.rows_per_epoch))
    return score_batches(model, batches, token_lengths_bytes(tokenizer))
