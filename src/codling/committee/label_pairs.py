"""The stage that turns pairs of a round into preference pairs, by whichever labeler the recipe names.

labels artifact:  labels.jsonl (preference pairs), set_aside.jsonl ({"id", "reason"}), both in the pairs' order
"""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

from jaxtyping import PRNGKeyArray
from pydantic import Field

from codling.artifact.processes import is_lead
from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.committee.candidates import PAIRS_FILE, CandidatePair, read_candidates
from codling.committee.label_by_checks import ChecksConfig
from codling.committee.label_by_judge import JudgeConfig
from codling.committee.label_file import LabelFileConfig
from codling.committee.labeler import JUDGE_FAILURES, Labeler, PairsToLabel, SetAside, Verdict
from codling.committee.verdict_log import VerdictLog
from codling.config import config
from codling.data.json_lines import write_objects
from codling.errors import UserError
from codling.posttrain.levels import Level
from codling.posttrain.preferences import PreferencePair, write_preferences

LABELS_FILE, SET_ASIDE_FILE = "labels.jsonl", "set_aside.jsonl"
VERDICTS_FILE = "verdicts.jsonl"
"""Among the checkpoints: a working file that is no part of the result, and goes when the stage is done."""

LabelerConfig = Annotated[ChecksConfig | JudgeConfig | LabelFileConfig, Field(discriminator="kind")]
"""Who or what labels: a configuration of each kind is a `Labeler`."""


@config
class LabelPairsConfig:
    """Who labels a round's pairs."""

    labeler: LabelerConfig = ChecksConfig()


def run_label_pairs(config: LabelPairsConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Label pairs. Inputs: pairs. Killed, it goes on with what the labeler has not said yet.

    Errors: `UserError` where the labeler cannot work, and where every pair was set aside.
    """
    # Of several processes one labels: a judge is not asked by each of them.
    if not is_lead():
        return {}
    candidates = read_candidates(inputs["pairs"].path / PAIRS_FILE)
    ids = [pair.id for pair in candidates]
    pairs: dict[str, CandidatePair] = {}
    for pair_id, pair in zip(ids, candidates, strict=True):
        pairs.setdefault(pair_id, pair)
    log = VerdictLog(out.checkpoints_path / VERDICTS_FILE)
    _label(config.labeler, pairs, log, out)
    results = [
        log.results[pair_id] if pairs[pair_id] is pair else SetAside.REPEATED
        for pair_id, pair in zip(ids, candidates, strict=True)
    ]
    labeled = [
        preference(pair, result, config.labeler.name)
        for pair, result in zip(candidates, results, strict=True)
        if isinstance(result, Verdict)
    ]
    if not labeled:
        # So that the labeler is asked anew once whatever was wrong is mended.
        log.remove()
        raise UserError(f"{out.name}: all {len(candidates)} pairs were set aside ({_told(results)}); none can be used")
    if failures := [result for result in results if result in JUDGE_FAILURES]:
        out.warn(f"{len(failures)} of {len(candidates)} pairs set aside ({_told(failures)})")
    write_preferences(out.path / LABELS_FILE, labeled)
    aside = [(pair_id, result) for pair_id, result in zip(ids, results, strict=True) if isinstance(result, SetAside)]
    write_objects(out.path / SET_ASIDE_FILE, ({"id": pair_id, "reason": result.value} for pair_id, result in aside))
    return {"labeler": config.labeler.name, **label_figures(candidates, results)}


def preference(pair: CandidatePair, verdict: Verdict, labeler: str) -> PreferencePair:
    """A pair with its verdict."""
    first, second = pair.members
    return PreferencePair(
        prompt=pair.prompt.prompt,
        answers=pair.answers,
        better=verdict.better,
        level=verdict.level,
        gradings=verdict.gradings,
        labeler=verdict.labeler or labeler,
        source=f"{pair.prompt.source}; answers by {first} and {second}",
        license=pair.prompt.license,
    )


def label_figures(candidates: Sequence[CandidatePair], results: Sequence[Verdict | SetAside]) -> dict[str, Any]:
    """How many pairs got a label, by level and by skill, and how many did not, by reason."""
    levels = Counter(result.level for result in results if isinstance(result, Verdict))
    reasons = Counter(result for result in results if isinstance(result, SetAside))
    skills = [pair.prompt.skill for pair in candidates]
    of_skill = Counter(skills)
    labeled = Counter(skill for skill, result in zip(skills, results, strict=True) if isinstance(result, Verdict))
    return {
        "num_pairs": len(candidates),
        "num_labeled": labeled.total(),
        "num_by_level": {level.value: levels[level] for level in Level},
        "num_set_aside": {reason.value: reasons[reason] for reason in SetAside if reason in reasons},
        "by_skill": {
            skill: {"num_pairs": of_skill[skill], "num_labeled": labeled[skill]} for skill in sorted(of_skill)
        },
    }


def _label(labeler: Labeler, pairs: dict[str, CandidatePair], log: VerdictLog, out: Workspace) -> None:
    """Let the labeler work on what the log does not hold, and keep every result as it comes."""
    results = labeler.label(PairsToLabel(pairs, frozenset(log.results), out.path))
    with log.appending(), out.progress(len(pairs), len(log.results)) as progress:
        for pair_id, result in results:
            log.add(pair_id, result)
            progress.update(len(log.results))


def _told(results: Sequence[Verdict | SetAside]) -> str:
    counts = Counter(result.value for result in results if isinstance(result, SetAside))
    return "; ".join(f"{count}: {reason}" for reason, count in counts.most_common())
