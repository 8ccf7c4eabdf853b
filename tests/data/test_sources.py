import gzip
import hashlib
import importlib.resources
import json
import re
from pathlib import Path

import pytest

from codling.config import from_dict, to_dict
from codling.data.sources import (
    EMBEDDED_KINDS,
    CorpusConfig,
    RequestSplit,
    SourceConfig,
    Split,
    fingerprint,
    load_corpus,
    load_documents,
    load_requests,
    load_source,
    read_documents,
)
from codling.errors import UserError

LEAK_RUN_WORDS = 13
SPLITS: tuple[Split, ...] = ("train", "heldout")
MIN_CHARACTERS = {"stories": 2_000_000, "tales": 1_000_000, "guides": 500_000, "textbooks": 700_000}
ROOT = Path(__file__).parents[2]


def write_jsonl(file: Path, texts: list[str]) -> Path:
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return file


def word_runs(texts: list[str]) -> set[str]:
    runs: set[str] = set()
    for text in texts:
        words = re.findall(r"[a-z0-9']+", text.lower())
        runs.update(" ".join(words[i : i + LEAK_RUN_WORDS]) for i in range(len(words) - LEAK_RUN_WORDS + 1))
    return runs


@pytest.mark.parametrize("kind", EMBEDDED_KINDS)
def test_embedded_kind_is_plain_text_without_markup(kind: str) -> None:
    documents = load_documents(kind, "train") + load_documents(kind, "heldout")
    assert len(set(documents)) == len(documents)
    assert sum(map(len, documents)) > MIN_CHARACTERS[kind]
    for text in documents:
        assert text.isascii()
        assert text == text.strip()
        assert not re.search(r"\*\*|^#+ |\]\(|```|\t|\n\n\n", text, re.MULTILINE), text[:80]


@pytest.mark.parametrize("kind", EMBEDDED_KINDS)
def test_no_run_of_words_is_both_held_out_and_trained_on(kind: str) -> None:
    heldout = word_runs(load_documents(kind, "heldout"))
    assert len(load_documents(kind, "heldout")) >= 20
    for other in EMBEDDED_KINDS:
        assert not heldout & word_runs(load_documents(other, "train"))


def test_tales_are_long_enough_to_teach_long_context() -> None:
    assert min(map(len, load_documents("tales", "train"))) >= 2_000


def test_requests_keep_the_intents_and_splits_of_their_authors() -> None:
    names: tuple[RequestSplit, ...] = ("train", "val", "test")
    splits = {name: load_requests(name) for name in names}
    assert [len(requests) for requests in splits.values()] == [15_100, 3_100, 5_500]
    intents = {request.intent for request in splits["train"]}
    assert len(intents) == 151
    assert "oos" in intents
    assert {request.intent for request in splits["test"]} == intents


def test_ledger_and_notice_tell_what_the_files_hold() -> None:
    corpus = importlib.resources.files("codling.data") / "corpus"
    ledger = json.loads((corpus / "sources.json").read_text(encoding="utf-8"))
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    assert set(ledger) == {*EMBEDDED_KINDS, "requests"}
    for kind, line in ledger.items():
        data = (corpus / f"{kind}.jsonl.gz").read_bytes()
        assert len(data) == line["compressed_bytes"]
        assert hashlib.sha256(gzip.decompress(data)).hexdigest() == line["sha256_uncompressed"]
        assert f"{kind}.jsonl.gz" in notice
        assert line["license"].split(" and ")[-1] in notice
    assert sum(line["compressed_bytes"] for line in ledger.values()) < 3_000_000


def test_splits_of_the_user_s_text_are_disjoint_whole_and_independent_of_file_names(tmp_path: Path) -> None:
    texts = [f"Document number {number}." for number in range(100)]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write_jsonl(tmp_path / "a" / "1.jsonl", texts[:60])
    (tmp_path / "a" / "2.jsonl.gz").write_bytes(
        gzip.compress(b"".join(json.dumps({"text": text, "id": 1}).encode() + b"\n\n" for text in texts[60:]))
    )
    write_jsonl(tmp_path / "b" / "other.jsonl", texts[::-1])
    by_folder = {
        folder: {split: load_source(SourceConfig(kind="own", path=tmp_path / folder), split) for split in SPLITS}
        for folder in ("a", "b")
    }
    train, heldout = by_folder["a"]["train"], by_folder["a"]["heldout"]
    assert len(heldout) == 5
    assert sorted(train + heldout) == sorted(texts)
    assert sorted(by_folder["b"]["heldout"]) == sorted(heldout)


def test_text_files_are_split_at_empty_lines_and_nothing_is_lost(tmp_path: Path) -> None:
    paragraphs = ["; ".join([f"Paragraph {number}"] * 10) for number in range(50)]
    (tmp_path / "book.txt").write_text("\ufeff" + "\r\n\r\n".join(paragraphs), encoding="utf-8")
    passages = read_documents(tmp_path / "book.txt", passage_characters=300)
    assert "\n\n".join(passages) == "\n\n".join(paragraphs)
    assert len(passages) > 10
    assert all(len(passage) >= 300 for passage in passages[:-1])
    assert len(read_documents(tmp_path, passage_characters=0)) == 1


def test_corpus_gives_every_kind_and_survives_the_recipe_file(tmp_path: Path) -> None:
    own = write_jsonl(tmp_path / "own.jsonl", ["One.", "Two.", "Two."])
    corpus = CorpusConfig(sources=(SourceConfig(kind="tales"), SourceConfig(kind="own", path=own)))
    assert from_dict(CorpusConfig, to_dict(corpus), source="recipe") == corpus
    documents = load_corpus(corpus, "train")
    assert documents["tales"] == load_documents("tales", "train")
    assert sorted(documents["own"] + load_corpus(corpus, "heldout")["own"]) == ["One.", "Two."]
    assert [source.kind for source in CorpusConfig().sources] == list(EMBEDDED_KINDS)


def test_fingerprint_sees_every_change() -> None:
    prints = [
        fingerprint(documents)
        for documents in (
            {"a": ["x", "y"]},
            {"a": ["xy"]},
            {"a": ["x"], "y": []},
            {"b": ["x", "y"]},
            {"a": ["y", "x"]},
        )
    ]
    assert len(set(prints)) == len(prints)
    assert fingerprint({"a": ["x", "y"]}) == prints[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("latin.txt", "caf\xe9".encode("latin-1"), "latin.txt: not UTF-8 at byte 3"),
        ("bad.jsonl", b'{"text": "fine"}\n{"txt": "no"}\n', "bad.jsonl:2: no `text` field"),
        ("list.jsonl", b'["text"]\n', "list.jsonl:1: not a JSON object"),
        ("cut.jsonl", b'{"text": "fine"}\n{"text": "cu', "cut.jsonl:2: not a JSON object"),
        ("empty.txt", b" \n", "empty.txt: holds no text"),
        ("one.txt", b"All in one paragraph.", "one.txt: holds one document"),
        ("torn.txt.gz", gzip.compress(b"words " * 100, mtime=0)[:-20], "torn.txt.gz: not a whole gzip file"),
        ("plain.txt.gz", b"no gzip", "plain.txt.gz: not a whole gzip file"),
        ("page.pdf", b"%PDF", "page.pdf: not a text file"),
    ],
)
def test_bad_file_is_named_in_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_source(SourceConfig(kind="own", path=tmp_path / name), "train")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_or_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such file or folder"):
        read_documents(tmp_path / "nowhere")
    (tmp_path / "notes.md").write_text("not read")
    with pytest.raises(UserError, match=r"holds no text; put .txt, .jsonl files"):
        read_documents(tmp_path)


def test_unknown_embedded_kind_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"'poems'.*stories, tales, guides, textbooks"):
        load_documents("poems", "train")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sources": [{"kind": "poems"}]}, "no embedded text of kind 'poems' .*stories, tales"),
        ({"sources": []}, "sources is empty"),
        ({"sources": [{"kind": "tales"}, {"kind": "tales"}]}, "kind 'tales' has two sources"),
        ({"sources": [{"kind": "tales", "heldout_share": 1.0}]}, "heldout_share is 1.0"),
        ({"sources": [{"kind": "tales", "passage_characters": -1}]}, "passage_characters is -1"),
    ],
)
def test_bad_corpus_configuration_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_dict(CorpusConfig, values, source="recipe")
