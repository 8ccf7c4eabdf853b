"""Does a model find a fact again, wherever in however long a text it stands? Accuracy by length and depth.

Held-out text, facts hidden as in training (`data.long_questions`), one question at the end. `choice`: the right value
is the likeliest of all values by its first token (a tie is wrong), which shows progress early; `exact`: every token of
it is the model's first choice of the whole vocabulary, as greedy generation would write it.

Documents of all lengths share rows of the greatest length, so that one program serves them all.
"""

import itertools
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from codling.config import config
from codling.data.long_questions import MAX_FACTS, Category, QuestionWords, QuestionWriter, check_filler
from codling.data.prepare import Corpus
from codling.model.transformer import Transformer
from codling.skills.skill import random_for
from codling.train.sharding import by_rows, local_copies, local_mesh

BATCH_SIZE_ROWS = 8
NUM_TOLD: dict[Category, int] = {"one_fact": 1, "several_facts": MAX_FACTS, "overwritten_fact": 2}
"""Facts in a document that is measured on. Whoever names any of them is right once in so many."""


@config
class RetrievalConfig:
    """The grid, and what it is measured on."""

    lengths_tokens: tuple[int, ...]
    """Lengths of the documents, question included."""
    depths: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    """Share of the text before the fact: 0 at the begin, 1 right before the question."""
    num_documents_by_category: dict[Category, int]
    """Category -> documents in each cell."""
    filler_kinds: tuple[str, ...] = ("stories",)
    words: QuestionWords = QuestionWords()
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.lengths_tokens and self.depths and self.num_documents_by_category):
            raise ValueError("a grid needs at least one length, one depth and one category")
        if min(self.num_documents_by_category.values()) < 1:
            raise ValueError("num_documents_by_category holds less than 1; leave the category out")
        if not all(0 <= depth <= 1 for depth in self.depths):
            raise ValueError("depths are shares of the text, they must lie between 0 and 1")


class Probe(NamedTuple):
    """A document up to and with the first answer."""

    ids: list[int]
    answer_ids: list[int]


class Placed(NamedTuple):
    """Probes laid into rows. R rows of T tokens; a probe never sees its neighbors."""

    tokens: Int[np.ndarray, "R T"]
    positions: Int[np.ndarray, "R T"]
    segment_ids: Int[np.ndarray, "R T"]
    row_of: list[int]
    end_of: list[int]
    """One past a probe's last token, in its row."""


def retrieval_figures(model: Transformer, corpus: Corpus, config: RetrievalConfig) -> dict[str, Any]:
    """Accuracy by category, length and depth: `choice` and `exact` are [length][depth] for each category.

    Errors: `UserError` for filler that the corpus does not hold, or lengths without room for the facts.
    """
    probes = _write_probes(corpus, config)
    values = config.words.values("heldout")
    first_ids = [corpus.tokenizer.encode(f" {value}")[0] for value in values]
    choice, exact = score_probes(model, probes, first_ids)
    counts = config.num_documents_by_category
    num_cells = len(config.lengths_tokens) * len(config.depths)
    ends = list(itertools.accumulate(num_cells * count for count in counts.values()))

    def grids(is_right: list[bool]) -> dict[Category, list[list[float]]]:
        parts = (is_right[end - num_cells * count : end] for end, count in zip(ends, counts.values(), strict=True))
        shape = (len(config.lengths_tokens), len(config.depths), -1)
        return {
            category: np.reshape(part, shape).mean(axis=-1).tolist()
            for category, part in zip(counts, parts, strict=True)
        }

    return {
        "lengths_tokens": list(config.lengths_tokens),
        "depths": list(config.depths),
        "num_documents": dict(counts),
        "chance": 1 / len(values),
        "chance_among_told": {category: 1 / NUM_TOLD[category] for category in counts},
        "choice": grids(choice),
        "exact": grids(exact),
    }


def _write_probes(corpus: Corpus, config: RetrievalConfig) -> list[Probe]:
    """In the order category, length, depth, document."""
    tokenizer = corpus.tokenizer
    check_filler(config.filler_kinds, corpus.text_kinds)
    documents = [text for kind in config.filler_kinds for text in corpus.heldout_text(kind)]
    writer = QuestionWriter(documents, config.words, "heldout", tokenizer.encode)
    rng = random_for("retrieval", "heldout", config.seed)
    probes = []
    for category, num_documents in config.num_documents_by_category.items():
        for length in config.lengths_tokens:
            for depth in config.depths:
                for _ in range(num_documents):
                    document = writer.write(
                        category, length, rng, num_facts=NUM_TOLD[category], depth=depth, num_asked=1
                    )
                    prompt, answer, _ = document.parts
                    answer_ids = tokenizer.encode(answer)
                    probes.append(Probe([tokenizer.bos_id, *tokenizer.encode(prompt), *answer_ids], answer_ids))
    return probes


def score_probes(model: Transformer, probes: list[Probe], first_ids: list[int]) -> tuple[list[bool], list[bool]]:
    """Of each probe: whether its answer's first token beats those of all other values; whether all of it came first."""
    placed = place_probes(probes)
    max_answer = max(len(probe.answer_ids) for probe in probes)
    in_row: list[list[int]] = [[] for _ in placed.tokens]
    for index, row in enumerate(placed.row_of):
        in_row[row].append(index)
    most = max(map(len, in_row))
    choice, exact = [False] * len(probes), [False] * len(probes)
    mesh = local_mesh(BATCH_SIZE_ROWS)
    model = local_copies(model, mesh)
    for start in range(0, len(placed.tokens), BATCH_SIZE_ROWS):
        rows = slice(start, start + BATCH_SIZE_ROWS)
        columns = np.zeros((BATCH_SIZE_ROWS, most, max_answer), np.int32)
        for row, indices in enumerate(in_row[rows]):
            for place, index in enumerate(indices):
                # What predicts a token stands one before it; the last one was not fed.
                first = placed.end_of[index] - len(probes[index].answer_ids)
                columns[row, place] = first + np.minimum(np.arange(max_answer), len(probes[index].answer_ids) - 1)
        tokens, positions, segments = (_fill(array[rows]) for array in placed[:3])
        at = jnp.asarray(columns.reshape(BATCH_SIZE_ROWS, -1))
        logits = np.asarray(_logits_at(model, tokens, positions, segments, at, mesh=mesh))
        logits = logits.reshape(BATCH_SIZE_ROWS, most, max_answer, -1)
        for row, indices in enumerate(in_row[rows]):
            for place, index in enumerate(indices):
                answer = probes[index].answer_ids
                of_values = logits[row, place, 0, first_ids]
                choice[index] = int((of_values >= logits[row, place, 0, answer[0]]).sum()) == 1
                exact[index] = logits[row, place, : len(answer)].argmax(axis=-1).tolist() == answer
    return choice, exact


def place_probes(probes: list[Probe]) -> Placed:
    """Longest first, each into the first row that has room. The last token of a probe is not fed: nothing follows."""
    lengths = [len(probe.ids) - 1 for probe in probes]
    row_length = max(lengths)
    filled: list[int] = []
    row_of, end_of = [0] * len(probes), [0] * len(probes)
    for index in sorted(range(len(probes)), key=lambda index: -lengths[index]):
        row = next((row for row, used in enumerate(filled) if used + lengths[index] <= row_length), len(filled))
        if row == len(filled):
            filled.append(0)
        filled[row] += lengths[index]
        row_of[index], end_of[index] = row, filled[row]
    tokens, positions, segment_ids = (np.zeros((len(filled), row_length), np.int32) for _ in range(3))
    for index, probe in enumerate(probes):
        place = (row_of[index], slice(end_of[index] - lengths[index], end_of[index]))
        tokens[place] = probe.ids[:-1]
        positions[place] = np.arange(lengths[index])
        segment_ids[place] = index + 1
    return Placed(tokens, positions, segment_ids, row_of, end_of)


@partial(jax.jit, static_argnames="mesh")
def _logits_at(
    model: Transformer,
    tokens: Int[Array, "B T"],
    positions: Int[Array, "B T"],
    segment_ids: Int[Array, "B T"],
    columns: Int[Array, "B C"],
    *,
    mesh: Mesh,
) -> Float[Array, "B C V"]:
    """Each device runs its own rows."""
    logits: Array = by_rows(_logits_of_rows, mesh)(model, tokens, positions, segment_ids, columns)
    return logits


def _logits_of_rows(
    model: Transformer, tokens: Array, positions: Array, segment_ids: Array, columns: Array
) -> Float[Array, "B C V"]:
    hidden = model(tokens, positions, segment_ids, rope_theta=model.config.rope_theta)
    picked = jnp.take_along_axis(hidden, columns[:, :, None], axis=1)
    return model.logits(picked).astype(jnp.float32)


def _fill(rows: Int[np.ndarray, "R T"]) -> Int[Array, "B T"]:
    """The last batch is filled up with empty rows, so that it compiles like the others."""
    return jnp.asarray(np.pad(rows, ((0, BATCH_SIZE_ROWS - len(rows)), (0, 0))))
