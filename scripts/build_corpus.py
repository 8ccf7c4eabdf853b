"""Build the corpus that is embedded in the package: `python scripts/build_corpus.py DATA_FOLDER`.

DATA_FOLDER holds the collected public text (`pretrain/`, `instruct/`); NOTICE lists what is taken of it. The
script writes `src/codling/data/corpus/<kind>.jsonl.gz` and `sources.json`, a ledger of what each file holds.
The same input gives the same bytes: no clock, no randomness, no dependence on hash order.

Rules that hold for every kind of document:
- ASCII only. Typographic quotes, dashes and spaces become plain ones and accents are dropped, because the
  smallest vocabulary has no room for rare characters; a document that is not ASCII after that is left out.
- A held-out document shares no run of 13 words with any other document of the corpus, so that a held-out loss
  never measures recall. Of those that qualify, the ones with the smallest SHA-256 of their text are held out.
- Where a budget allows only part of a source, the easiest documents to read are taken.

Tried and dropped: OpenStax' Writing Guide and the articles on plainlanguage.gov (both reprint texts of other
owners), The Story of Doctor Dolittle (racist passages), Aesop's Fables (too short to teach long context).
"""

import argparse
import gzip
import hashlib
import io
import itertools
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

CORPUS = Path(__file__).parents[1] / "src" / "codling" / "data" / "corpus"
LEAK_RUN_WORDS = 13  # The decontamination length of arXiv 2407.21075 §3.1 (longest of its 4 to 13).
MIN_HELD_OUT_DOCUMENTS = 40


class Document(NamedTuple):
    """One text and where it comes from, in words that serve as attribution."""

    text: str
    source: str


class Book(NamedTuple):
    """A book of tales; `part` matches the heading lines at which it is split ('' where it has none)."""

    title: str
    part: str


BOOKS = (
    Book("Grimms' Fairy Tales", r"## "),
    Book("Andersen's Fairy Tales", r"## "),
    Book("The Little Mermaid", ""),
    Book("The Happy Prince & Other Tales", r"## "),
    Book("The Wonderful Wizard of Oz", r"### \d"),
    Book("The Marvelous Land of Oz", r"## "),
    Book("The Life and Adventures of Santa Claus", r"##+ (Part |\d)"),
    Book("A Kidnapped Santa Claus", ""),
)
MIN_TALE_CHARACTERS = 2_000

# Pages of these paths, up to so many characters of each.
GUIDE_BUDGETS = {
    ("GSA/plainlanguage.gov", "_pages/(guidelines|examples/before|resources/content)"): 250_000,
    ("18F/content-guide", ""): 60_000,
    ("18F/methods", ""): 60_000,
    ("18F/handbook", "pages/(supervisor|training|general|hiring|performance|getting)"): 180_000,
    ("GSA/digitalgov.gov", "content/(news|resources|guides)"): 480_000,
}
GUIDE_CHARACTERS = range(600, 12_000)

TEXTBOOK_BUDGETS = {
    "College Success": 280_000,
    "Preparing for College Success": 50_000,
    "Psychology 2e": 180_000,
    "Astronomy 2e": 120_000,
    "Entrepreneurship": 100_000,
    "U.S. History": 70_000,
}
TEXTBOOK_CHARACTERS = range(800, 10_000)
# Headings of matter around a chapter: exercises, lists, notes about the book itself.
TEXTBOOK_SKIPPED = re.compile(
    r"openstax|about |customization|attribution|errata|format|answer|author|reviewer|resources|survey|"
    r"summary|review|key (terms|concepts)|question|objectives|outcomes|references|further|exercis|activit|"
    r"quiz|solution|check your|figuring|websites|articles|videos|case |features|accessib|changes|coverage|"
    r"community|partner",
    re.IGNORECASE,
)
LICENSES = {
    "stories": "CDLA-Sharing-1.0",
    "tales": "public domain",
    "guides": "public domain and CC0-1.0",
    "textbooks": "CC-BY-4.0",
    "requests": "CC-BY-3.0",
}


def read_stories(data: Path) -> Iterator[Document]:
    """All of the TinyStories sample; quotes that were decoded wrongly are repaired."""
    for record in read_records(data / "pretrain" / "tinystories_sample.jsonl.gz"):
        text = re.sub("â€[–—]", " - ", record["text"].replace("â€œ", '"').replace("â€™", "'").replace("â€˜", "'"))
        yield Document(tidy(text.replace("â€", '"')), "TinyStories")


def read_tales(data: Path) -> Iterator[Document]:
    """Tales and chapters of children's books, each one document."""
    books = {r["title"]: r for r in read_records(data / "pretrain" / "books_public_domain.jsonl.gz")}
    for title, part in BOOKS:
        book = books[title]
        source = f"{book['author']}: {title} ({book['year']})"
        for heading, body in split_at_headings(book["text"], part):
            text = tidy(strip_markdown(body))
            if len(text) >= MIN_TALE_CHARACTERS:
                yield Document(text, f"{source}, {heading}" if heading else source)


def read_guides(data: Path) -> Iterator[Document]:
    """Practical pages of the United States government, headed by their title."""
    pages = list(read_records(data / "pretrain" / "us_government_web.jsonl.gz"))
    for (site, path), budget in GUIDE_BUDGETS.items():
        chosen = []
        for page in pages:
            if page["source"] == site and re.match(path, page["path"]) and is_prose(page["text"]):
                text = tidy(f"{page['title']}\n\n{strip_markdown(page['text'])}")
                chosen.append(Document(text, f"{site}: {page['path']}"))
        yield from easiest((d for d in chosen if len(d.text) in GUIDE_CHARACTERS), budget)


def read_textbooks(data: Path) -> Iterator[Document]:
    """Parts of OpenStax sections in simple words, headed by their title; captions and exercises taken out."""
    sections = list(read_records(data / "pretrain" / "textbooks_openstax.jsonl.gz"))
    for book, budget in TEXTBOOK_BUDGETS.items():
        chosen = []
        for section in (s for s in sections if s["book"] == book and not TEXTBOOK_SKIPPED.search(s["title"])):
            source = f"OpenStax, {book}, module {section['module']}"
            for heading, body in split_at_headings(section["text"], "# "):
                if TEXTBOOK_SKIPPED.search(heading) or not is_prose(body):
                    continue
                text = tidy(f"{heading or section['title']}\n\n{textbook_prose(body)}")
                if len(text) in TEXTBOOK_CHARACTERS:
                    chosen.append(Document(text, source))
        yield from easiest(chosen, budget)


def textbook_prose(body: str) -> str:
    """The paragraphs of a section without figure captions, pointers to figures and time estimates."""
    dropped = re.compile(
        r"\(\s*(credit|attribution)\b|^(Problem|Solution|Estimated|Questions to)\b|\b(is|are) shown\b|"
        r"^(A|This) (figure|image|photo|graph|diagram|chart)|the figure|this (section|chapter)|:$",
        re.IGNORECASE | re.MULTILINE,
    )
    paragraphs = body.replace(" (the figure)", "").split("\n\n")
    return "\n\n".join(p for p in paragraphs if not dropped.search(p))


def read_requests(data: Path) -> list[dict[str, str]]:
    """CLINC150, every record: split train, val or test; the intent of a request out of scope is `oos`."""
    records = read_records(data / "instruct" / "clinc150.jsonl.gz")
    return [
        {
            "text": to_ascii(r["text"]),
            "intent": r["intent"],
            "split": r["split"].removeprefix("oos_"),
            "source": "CLINC150",
        }
        for r in records
    ]


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def split_at_headings(text: str, part: str) -> Iterator[tuple[str, str]]:
    """Split a text at the lines that start with the pattern `part`: (heading, body) pairs."""
    if not part:
        yield "", text
        return
    starts = [m.start() for m in re.finditer(rf"^{part}", text, re.MULTILINE)]
    preamble = text[: starts[0]] if starts else text
    if preamble.strip():
        yield "", preamble
    for start, end in itertools.pairwise([*starts, len(text)]):
        heading, _, body = text[start:end].partition("\n")
        yield heading.lstrip("# ").rstrip(" ."), body


def is_prose(text: str) -> bool:
    """Mostly whole sentences; no table, code, address, link or gap to fill in; few citations."""
    if re.search(r"[|`{}<>@\\=√×÷~]|https?:|www\.|__\w*_|\]\(|\[\w+\]", text):
        return False
    citations = len(re.findall(r"\([^()]*\b(19|20)\d\d\)", text))
    blocks = [block.rstrip() for block in re.split(r"\n\s*\n|\n(?=\s*[*-] )", text)]
    in_sentences = sum(len(block) for block in blocks if block.endswith(tuple('.!?:"”)')))
    return citations <= 2 + len(text) / 2_000 and in_sentences > 0.8 * len(text)


def strip_markdown(text: str) -> str:
    """Take out heading, emphasis and quotation marks and footnotes; undo hard line breaks in paragraphs."""
    text = re.sub(r"^\s*(## )?the end\.?\s*$", "", text, flags=re.MULTILINE | re.IGNORECASE)
    text = re.sub(r"^ *#+ *(.*)$", r"\n\1\n", text, flags=re.MULTILINE)
    text = re.sub(r"^>[ ]?", "", text, flags=re.MULTILINE)
    text = re.sub(r"(\*\*|__|\b_|_\b|(?<!\w)_)", "", text)
    # Footnotes, then the asterisks that point to them.
    text = re.sub(r"^\*[^ \t*].*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"(?<=\w)\*|\*(?=\w)|(?<=[.,])\*", "", text)
    text = re.sub(r"^[ \t]*[*+-][ \t]+", "- ", text, flags=re.MULTILINE)
    return "\n\n".join(unwrap(block.strip("\n")) for block in re.split(r"\n\s*\n", text))


def unwrap(block: str) -> str:
    """Join the lines of a paragraph, unless they are verse (ending in two spaces) or items of a list."""
    lines: list[str] = []
    for line in block.split("\n"):
        starts_item = re.match(r"\s*(- |\d+[.)] )", line)
        if not lines or starts_item or lines[-1].endswith("  "):
            lines.append(line)
        else:
            lines[-1] = f"{lines[-1].rstrip()} {line.strip()}"
    return "\n".join(lines)


PUNCTUATION = str.maketrans(
    {"‘": "'", "’": "'", "“": '"', "”": '"', "″": '"', "–": "-", "—": "--", "―": "--", "•": "-", "\u00ad": ""}
    | dict.fromkeys("\u200b\u200e\u2060\u202c\ufeff", "")
)


def to_ascii(text: str) -> str:
    """Plain quotes, dashes and spaces; accents dropped."""
    folded = unicodedata.normalize("NFKD", text.translate(PUNCTUATION))
    return "".join(c for c in folded if not unicodedata.combining(c))


def tidy(text: str) -> str:
    """ASCII, single spaces, at most one empty line, no spaces at line ends."""
    text = re.sub(r"[ \t]+", " ", to_ascii(text).replace("\r", "\n"))
    return re.sub(r"\n{3,}", "\n\n", re.sub(r" *\n *", "\n", text)).strip()


def easiest(documents: Iterable[Document], budget_characters: int) -> list[Document]:
    """The documents that are easiest to read, up to the budget, in their own order."""
    documents = [d for d in documents if d.text.isascii()]
    chosen, total = set(), 0
    for document in sorted(documents, key=lambda d: (reading_grade(d.text), d.text)):
        total += len(document.text)
        if total > budget_characters:
            break
        chosen.add(document)
    return [d for d in documents if d in chosen]


def reading_grade(text: str) -> float:
    """The automated readability index, in years of school (Senter and Smith, 1967)."""
    words = text.split()
    sentences = re.findall(r"[.!?]+|\n", text)
    return 4.71 * sum(map(len, words)) / len(words) + 0.5 * len(words) / max(1, len(sentences)) - 21.43


def runs(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"[a-z0-9']+", text.lower())
    return {tuple(words[i : i + LEAK_RUN_WORDS]) for i in range(max(1, len(words) - LEAK_RUN_WORDS + 1))}


def without_repeats(kinds: dict[str, list[Document]]) -> dict[str, list[Document]]:
    """Leave out what is not ASCII and every text that occurred before."""
    seen: set[str] = set()
    kept: dict[str, list[Document]] = {}
    for kind, documents in kinds.items():
        kept[kind] = []
        for document in documents:
            if document.text.isascii() and document.text not in seen:
                seen.add(document.text)
                kept[kind].append(document)
    return kept


def held_out_texts(kinds: dict[str, list[Document]]) -> set[str]:
    """About one document in twenty of each kind, none of which shares a run of words with another."""
    counts = Counter(run for documents in kinds.values() for d in documents for run in runs(d.text))
    held_out: set[str] = set()
    for documents in kinds.values():
        # Not more than one in six, so that a kind of few, long documents keeps most of its text for training.
        wanted = max(len(documents) // 20, min(MIN_HELD_OUT_DOCUMENTS, len(documents) // 6))
        alone = [d.text for d in documents if all(counts[run] == 1 for run in runs(d.text))]
        held_out.update(sorted(alone, key=lambda text: hashlib.sha256(text.encode()).hexdigest())[:wanted])
    return held_out


def write(kind: str, records: list[dict[str, str]]) -> dict[str, Any]:
    """Write one file of the corpus and return its line of the ledger."""
    raw = "".join(json.dumps(record) + "\n" for record in records).encode()
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=packed, mtime=0) as file:
        file.write(raw)
    (CORPUS / f"{kind}.jsonl.gz").write_bytes(packed.getvalue())
    return {
        "license": LICENSES[kind],
        "records": dict(sorted(Counter(r["split"] for r in records).items())),
        "characters": sum(len(r["text"]) for r in records),
        "compressed_bytes": len(packed.getvalue()),
        "sha256_uncompressed": hashlib.sha256(raw).hexdigest(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data_folder", type=Path, help="folder with pretrain/ and instruct/")
    data = parser.parse_args().data_folder
    readers: dict[str, Callable[[Path], Iterator[Document]]] = {
        "stories": read_stories,
        "tales": read_tales,
        "guides": read_guides,
        "textbooks": read_textbooks,
    }
    kinds = without_repeats({kind: list(read(data)) for kind, read in readers.items()})
    held_out = held_out_texts(kinds)
    CORPUS.mkdir(parents=True, exist_ok=True)
    ledger = {}
    for kind, documents in kinds.items():
        splits = ["heldout" if d.text in held_out else "train" for d in documents]
        ledger[kind] = write(kind, [{**d._asdict(), "split": s} for d, s in zip(documents, splits, strict=True)])
    ledger["requests"] = write("requests", read_requests(data))
    (CORPUS / "sources.json").write_text(json.dumps(ledger, indent=1) + "\n", encoding="utf-8")
    for kind, line in ledger.items():
        print(
            kind,
            line["records"],
            f"{line['characters']:,} characters",
            f"{line['compressed_bytes']:,} bytes compressed",
        )


if __name__ == "__main__":
    main()
