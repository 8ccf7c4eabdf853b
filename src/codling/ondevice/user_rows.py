"""A user's own files as rows to train on: plain text, and demonstrations; the end of each is held out."""

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from codling.data.loader import Batch
from codling.data.mixture import PERIOD_ROWS, MixtureWeights
from codling.data.pack import PackedRows
from codling.data.tokens import TokenizedDocuments, join_documents, select_documents, tokenize_documents
from codling.errors import UserError
from codling.evaluate.heldout import HELDOUT_BATCH_ROWS
from codling.evaluate.perplexity import read_text
from codling.evaluate.score import first_rows
from codling.posttrain.demonstrations import read_demonstrations
from codling.tokenizer.chat_template import check_template, encode_chat
from codling.tokenizer.imported import TextTokenizer

HELDOUT_SHARE = 0.05
MAX_HELDOUT_ROWS = 64
TEXT, DEMONSTRATIONS = "text", "demonstrations"


class UserRows(NamedTuple):
    """Rows by kind, and what was held out of them."""

    train: dict[str, PackedRows]
    mixture: MixtureWeights
    """As many rows of each kind as it has."""
    heldout: dict[str, list[Batch]]
    sha256: str
    """Of all that was read."""


def read_user_rows(
    texts: Sequence[Path],
    demonstrations: Sequence[Path],
    tokenizer: TextTokenizer,
    row_length_tokens: int,
    seed: int,
) -> UserRows:
    """Read files of text (as for `read_text`) and of demonstrations.

    Errors: `UserError` for a file that is missing or damaged, for demonstrations of which one is longer than a row, for
    a tokenizer without a chat template, and where nothing is given or too little to hold anything out.
    """
    parts: dict[str, TokenizedDocuments] = {}
    if texts:
        documents = [document for path in texts for document in read_text(path)]
        parts[TEXT] = tokenize_documents(documents, lambda text: [*tokenizer.begin_ids, *tokenizer.encode(text)])
    if demonstrations:
        parts[DEMONSTRATIONS] = _encode_demonstrations(demonstrations, tokenizer)
    if not parts:
        raise UserError("there is nothing to train on; give --text or --demonstrations")
    train, heldout = {}, {}
    for kind, whole in parts.items():
        own, kept = _split(whole, kind)
        is_text = whole.loss_mask is None
        pack = partial(PackedRows, row_length_tokens=row_length_tokens, split_documents=is_text)
        train[kind] = pack(own, seed=seed)
        heldout[kind] = list(first_rows(pack(kept, seed=0), MAX_HELDOUT_ROWS, HELDOUT_BATCH_ROWS))
    num_rows = {kind: rows.rows_per_epoch for kind, rows in train.items()}
    least = sum(num_rows.values()) / PERIOD_ROWS
    mixture = MixtureWeights(share_by_kind={kind: max(number, 2 * least) for kind, number in num_rows.items()})
    digest = hashlib.sha256()
    for part in parts.values():
        digest.update(part.tokens.tobytes() + part.offsets.tobytes())
    return UserRows(train, mixture, heldout, digest.hexdigest())


def _encode_demonstrations(paths: Sequence[Path], tokenizer: TextTokenizer) -> TokenizedDocuments:
    check_template(tokenizer)
    chats = [
        encode_chat(tokenizer, demonstration.messages, demonstration.tools or None)
        for path in paths
        for demonstration in read_demonstrations(path)
    ]
    return join_documents([chat.ids for chat in chats], [chat.loss_mask for chat in chats])


def _split(documents: TokenizedDocuments, kind: str) -> tuple[TokenizedDocuments, TokenizedDocuments]:
    """What is trained on, and the last of it, held out: whole conversations, and of text the last tokens."""
    if documents.loss_mask is not None:
        num_kept = max(1, round(HELDOUT_SHARE * documents.num_documents))
        if num_kept == documents.num_documents:
            raise UserError(f"{kind}: one is not enough, as some are held out to measure on; give more")
        first = documents.num_documents - num_kept
        every = np.arange(documents.num_documents)
        return select_documents(documents, every[:first]), select_documents(documents, every[first:])
    num_tokens = len(documents.tokens)
    cut = num_tokens - max(2, round(HELDOUT_SHARE * num_tokens))
    if cut < 2:
        raise UserError(f"{kind}: {num_tokens} tokens are not enough to train on and to measure on; give more")
    inner = documents.offsets[(documents.offsets > 0) & (documents.offsets < num_tokens)]
    before, after = inner[inner < cut], inner[inner > cut]
    return (
        TokenizedDocuments(documents.tokens[:cut], np.concatenate([[0], before, [cut]]), None),
        TokenizedDocuments(documents.tokens[cut:], np.concatenate([[0], after - cut, [num_tokens - cut]]), None),
    )
