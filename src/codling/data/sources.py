"""Where the text comes from: the corpus inside the package, or files of the user's own.

First step of the recipe: everything that is trained or measured on text begins with the documents read here.
A source gives two disjoint lists of documents, `train` and `heldout`. The embedded kinds (licenses and
changes: NOTICE, `corpus/sources.json`; builder: `scripts/build_corpus.py`) carry their split; of the user's
own text about one document in twenty is held out, chosen by hash, so that the order of the files does not
matter.
"""

import gzip
import hashlib
import importlib.resources
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from codling.config import config
from codling.data.json_lines import read_objects, read_utf8
from codling.errors import UserError

Split = Literal["train", "heldout"]
RequestSplit = Literal["train", "val", "test"]

EMBEDDED_KINDS = ("stories", "tales", "guides", "textbooks")
TEXT_SUFFIXES = (".txt", ".txt.gz", ".jsonl", ".jsonl.gz")


@config
class SourceConfig:
    """One kind of text, embedded in the package or read from `path`."""

    kind: str
    """Name of the kind, by which mixture weights refer to it. Ours."""
    path: Path | None = None
    """File (.txt or .jsonl with a `text` field, plain or .gz) or folder of such; none: embedded. Ours."""
    passage_characters: int = 8_000
    """A .txt file is split at the first empty line after so many characters; 0 keeps it whole. Ours."""
    heldout_share: float = 0.05
    """Part of the documents of `path` that is held out, at least one document. Ours."""

    def __post_init__(self) -> None:
        if self.path is None and self.kind not in EMBEDDED_KINDS:
            known = ", ".join(EMBEDDED_KINDS)
            raise ValueError(f"no embedded text of kind '{self.kind}' (there is {known}); or set its path")
        if self.passage_characters < 0:
            raise ValueError(f"passage_characters is {self.passage_characters}, it must be 0 or more")
        if not 0.0 < self.heldout_share < 1.0:
            raise ValueError(f"heldout_share is {self.heldout_share}, it must lie between 0 and 1")


@config
class CorpusConfig:
    """All kinds of text that a recipe may mix."""

    sources: tuple[SourceConfig, ...] = tuple(SourceConfig(kind=kind) for kind in EMBEDDED_KINDS)
    """One source a kind. Ours: the embedded corpus."""

    def __post_init__(self) -> None:
        kinds = [source.kind for source in self.sources]
        if not kinds:
            raise ValueError("sources is empty; name at least one kind of text")
        if repeated := {kind for kind in kinds if kinds.count(kind) > 1}:
            raise ValueError(f"kind '{min(repeated)}' has two sources; give each its own name")


class Request(NamedTuple):
    """A sentence said to an assistant and its intent, one of 150 or `oos` (out of scope)."""

    text: str
    intent: str


def load_corpus(corpus: CorpusConfig, split: Split) -> dict[str, list[str]]:
    """The documents of every kind."""
    return {source.kind: load_source(source, split) for source in corpus.sources}


def load_source(source: SourceConfig, split: Split) -> list[str]:
    """The documents of one source, in a fixed order.

    Errors: `UserError` for a path that is missing, empty, of another format or not UTF-8.
    """
    if source.path is None:
        return load_documents(source.kind, split)
    documents = read_documents(source.path, source.passage_characters)
    if len(documents) < 2:
        raise UserError(f"{source.path}: holds one document, two are needed to hold one out; add text")
    num_heldout = max(1, round(source.heldout_share * len(documents)))
    heldout = set(sorted(documents, key=_digest)[:num_heldout])
    return [text for text in documents if (text in heldout) == (split == "heldout")]


def load_documents(kind: str, split: Split) -> list[str]:
    """The documents of one embedded kind."""
    if kind not in EMBEDDED_KINDS:
        raise UserError(f"no embedded text of kind '{kind}'; there is {', '.join(EMBEDDED_KINDS)}")
    return [record["text"] for record in _embedded_records(kind) if record["split"] == split]


def load_requests(split: RequestSplit) -> list[Request]:
    """The embedded requests with intents (CLINC150), in the split of their authors."""
    records = _embedded_records("requests")
    return [Request(record["text"], record["intent"]) for record in records if record["split"] == split]


def fingerprint(documents: Mapping[str, Sequence[str]]) -> str:
    """SHA-256 over kinds and texts, by which an artifact id notices that a file of the user has changed."""
    digest = hashlib.sha256()
    for kind, texts in documents.items():
        # Lists of JSON strings cannot be confused with each other, as plain strings put together could.
        digest.update(json.dumps([kind, *texts]).encode())
    return digest.hexdigest()


def read_documents(path: Path, passage_characters: int = 0) -> list[str]:
    """The documents of a file, or of all text files below a folder in the order of names; repeats dropped.

    Errors: `UserError` that names the file, and the line or byte where there is one.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.name.endswith(TEXT_SUFFIXES) and file.is_file())
    documents: dict[str, None] = {}
    for file in files:
        documents.update(dict.fromkeys(_read_file(file, passage_characters)))
    if not documents:
        raise UserError(f"{path}: holds no text; put {', '.join(TEXT_SUFFIXES[::2])} files (or .gz of them) there")
    return list(documents)


def _read_file(file: Path, passage_characters: int) -> Iterator[str]:
    if not file.name.endswith(TEXT_SUFFIXES):
        raise UserError(f"{file}: not a text file; it must end in {', '.join(TEXT_SUFFIXES)}")
    if ".jsonl" in file.suffixes[-2:]:
        yield from _texts(file)
    else:
        yield from _split_passages(read_utf8(file), passage_characters)


def _texts(file: Path) -> Iterator[str]:
    for place, record in read_objects(file):
        if not isinstance(record.get("text"), str):
            raise UserError(f"{place}: no `text` field that holds a string")
        if record["text"].strip():
            yield record["text"]


def _split_passages(text: str, passage_characters: int) -> Iterator[str]:
    """Cut at empty lines only, so that the passages hold the whole text."""
    paragraphs: list[str] = []
    for paragraph in text.replace("\r\n", "\n").split("\n\n"):
        paragraphs.append(paragraph)
        if 0 < passage_characters <= sum(map(len, paragraphs)):
            yield "\n\n".join(paragraphs)
            paragraphs = []
    if rest := "\n\n".join(paragraphs).strip():
        yield rest


def _embedded_records(kind: str) -> Iterator[dict[str, str]]:
    file = importlib.resources.files("codling.data") / "corpus" / f"{kind}.jsonl.gz"
    yield from map(json.loads, gzip.decompress(file.read_bytes()).decode().splitlines())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
