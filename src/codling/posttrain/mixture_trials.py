"""The search for a mixture with real trials: each is a short fine-tuning from the same model, scored on held-out text.

    mixture artifact:  mixture.json (the best shares), trials.jsonl (every trial as it was made)

No stage of a recipe: a recipe names the shares that a search has found (`bench/mixture.py`).
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxtyping import PRNGKeyArray

from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.config import config, to_dict
from codling.data.json_lines import read_objects, write_objects
from codling.data.mixture import MixtureWeights
from codling.data.prepare import Corpus, open_corpus
from codling.errors import UserError
from codling.posttrain.mixture_search import MixtureSearchConfig, search_mixture
from codling.posttrain.sft import SftConfig, run_sft
from codling.train.seed import seed_from

MIXTURE_FILE, TRIALS_FILE, TRIALS_DIRECTORY = "mixture.json", "trials.jsonl", "trials"


@config
class MixtureTrialsConfig:
    """What a trial is, and how many there are."""

    sft: SftConfig
    """A trial. Its mixture is where the search starts; its steps are those of a trial."""
    search: MixtureSearchConfig = MixtureSearchConfig()
    weight_by_kind: dict[str, float] | None = None
    """What the held-out loss of each kind of text and skill counts in the score; none: all skills alike, and text
    nothing, so that its share falls. Ours: the report scores by benchmarks."""

    def __post_init__(self) -> None:
        if self.weight_by_kind is not None and not sum(self.weight_by_kind.values()) > 0:
            raise ValueError("weight_by_kind must sum to more than 0")


class TrialLog:
    """The trials so far, on disk after each: a search that was killed is told again what it knew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = [row for _, row in read_objects(path)] if path.exists() else []
        self._next = 0

    def recall(self, mixture: MixtureWeights) -> float | None:
        """The score of the next trial, if it was made before. Errors: `UserError` if it was of another mixture."""
        if self._next == len(self._rows):
            return None
        row = self._rows[self._next]
        if row["share_by_kind"] != mixture.share_by_kind:
            raise UserError(f"{self._path}: trial {self._next} is of another search; choose another place or remove it")
        self._next += 1
        score: float = row["score"]
        return score

    def add(self, mixture: MixtureWeights, score: float, nll_by_kind: dict[str, float]) -> None:
        """Write down the trial after those that were recalled; whole or not at all."""
        row = {**to_dict(mixture), "score": score, "nll_by_kind": nll_by_kind}
        self._rows.append({"trial": self._next} | row)
        self._next += 1
        partial = self._path.with_suffix(".partial")
        write_objects(partial, self._rows)
        partial.replace(self._path)

    @property
    def next_number(self) -> int:
        """The number of the trial that comes after those that were recalled and added."""
        return self._next


def run_mixture_search(
    config: MixtureTrialsConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray
) -> dict[str, Any]:
    """Find shares whose short fine-tuning leaves the least held-out loss. Inputs: model, tokens.

    Errors: as `run_sft` and `search_mixture`; `UserError` for a weight of a kind that has no held-out text.
    """
    weight_by_kind = _weights(config, open_corpus(inputs["tokens"].path))
    log, directory = TrialLog(out.path / TRIALS_FILE), out.path / TRIALS_DIRECTORY

    def evaluate(mixture: MixtureWeights) -> float:
        if (known := log.recall(mixture)) is not None:
            return known
        own = directory / f"{log.next_number:03}"
        nll_by_kind = _try(config.sft, mixture, inputs, out, key, own)
        total = sum(nll_by_kind[kind] * weight for kind, weight in weight_by_kind.items())
        score = -total / sum(weight_by_kind.values())
        log.add(mixture, score, nll_by_kind)
        shutil.rmtree(own)
        return score

    found = search_mixture(config.search, config.sft.mixture, evaluate, seed_from(key))
    shutil.rmtree(directory, ignore_errors=True)
    (out.path / MIXTURE_FILE).write_text(json.dumps(to_dict(found.best.mixture), indent=1) + "\n", encoding="utf-8")
    return {
        "start_score": found.start.score,
        "best_score": found.best.score,
        "start_share_by_kind": found.start.mixture.share_by_kind,
        "best_share_by_kind": found.best.mixture.share_by_kind,
        "num_trials": found.num_trials,
    }


def _weights(config: MixtureTrialsConfig, corpus: Corpus) -> dict[str, float]:
    config.sft.mixture.check_kinds(corpus.train)
    if config.weight_by_kind is None:
        return dict.fromkeys(corpus.skills, 1.0)
    if unknown := sorted(set(config.weight_by_kind) - set(corpus.heldout)):
        held = ", ".join(sorted(corpus.heldout))
        raise UserError(f"weight_by_kind names '{unknown[0]}', of which nothing is held out (there is: {held})")
    return config.weight_by_kind


def _try(
    sft: SftConfig, mixture: MixtureWeights, inputs: Inputs, out: Workspace, key: PRNGKeyArray, directory: Path
) -> dict[str, float]:
    """Held-out losses after fine-tuning on a mixture; every trial has the same key, so the same order of documents.

    A trial that was killed goes on from its checkpoint.
    """
    directory.mkdir(parents=True, exist_ok=True)
    workspace = Workspace(f"{out.name} {directory.name}", directory, out.reporter)
    metrics = run_sft(replace(sft, mixture=mixture), inputs, workspace, key)
    nll_by_kind: dict[str, float] = metrics["heldout_after"]["nll_by_kind"]
    return nll_by_kind
