"""What the numbers say, in one sentence each; better or worse is read off the numbers, never assumed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from codling.artifact.stage import Inputs
from codling.report.compression import PALETTIZED
from codling.report.feature_adapters import FeatureAdapter
from codling.report.formats import Verdict, bits, count, loss, nats, percent, points, signed, size, verdict
from codling.report.paired_scores import Comparison, PairedScore
from codling.report.retrieval import MAPPED, found
from codling.report.rounds import SIDES
from codling.report.skill_scores import MODELS, Score, SkillReport
from codling.report.stage_table import num_tokens
from codling.report.start import start_parts
from codling.report.titles import full_title

TUNING_STAGES = ("continued", "sft")
STANDINGS: dict[str, Verdict] = {"above": "better", "below": "worse", "even": "same"}


class Finding(NamedTuple):
    """A sentence, and whether it tells of a gain."""

    verdict: Verdict
    claim: str
    """In three or four words."""
    evidence: str
    anchor: str
    """The section of the page that shows it."""


def findings(
    inputs: Inputs,
    skills: Sequence[SkillReport],
    compared: Sequence[Comparison] = (),
    adapters: Sequence[FeatureAdapter] = (),
) -> list[Finding]:
    """All findings, in the order of the recipe."""
    metrics = {name: artifact.manifest.metrics for name, artifact in inputs.items()}
    return [
        _pruning(metrics["device_prune"]),
        *_start(inputs),
        *(_text_and_skills(f"{side}_{stage}", metrics) for stage in TUNING_STAGES for side in SIDES),
        *_long_context(inputs),
        *_retrieval(inputs),
        *_alignment(compared),
        _recovery(metrics["device_recover"]),
        *_adapters(adapters),
        *_skills(skills),
        _pair(metrics),
    ]


def _pruning(metrics: Mapping[str, Any]) -> Finding:
    """The choice of units, with the parent's weights on both sides: chance did not train along."""
    before, after, chosen, random = (
        metrics[f"heldout_{which}"]["nll"] for which in ("before", "after", "chosen_units", "random_units")
    )
    removed = 1 - metrics["num_parameters_after"] / metrics["num_parameters_before"]
    outcome = verdict(chosen - random)
    claims = {
        "better": "Pruning keeps the right units",
        "same": "Pruning is no better than chance",
        "worse": "Pruning keeps worse units than chance",
    }
    evidence = (
        f"Without {percent(removed)} of its parameters the parent goes from {loss(before)} to {loss(chosen)} "
        f"({signed(chosen - before)}); with random units kept, to {loss(random)} ({signed(random - before)})."
    )
    if tokens := num_tokens(metrics):
        evidence += f" Trained along over {count(tokens)} tokens, it ends at {loss(after)} ({signed(after - before)})."
    return Finding(outcome, claims[outcome], evidence, "start")


def _start(inputs: Inputs) -> Iterator[Finding]:
    """The pruned and distilled start against the control, after each stage that both went through."""
    for part in start_parts(inputs):
        grown, control = part.grown, part.control
        outcome = verdict(grown.nll - control.nll)
        claims = {"better": "beats", "same": "equals", "worse": "loses to"}
        claim = f"After {part.after}, pruned + distilled {claims[outcome]} from scratch"
        evidence = (
            f"After {count(part.num_tokens)} tokens of the same mixture each: {loss(grown.nll)} against "
            f"{loss(control.nll)} ({signed(grown.nll - control.nll)})"
        )
        if grown.accuracy is not None and control.accuracy is not None:
            evidence += f"; first choice right {percent(grown.accuracy)} against {percent(control.accuracy)}"
        yield Finding(outcome, claim, evidence + ".", "start")


def _text_and_skills(name: str, metrics: Mapping[str, Mapping[str, Any]]) -> Finding:
    """A stage that trains on: on its own kind of text (skills in fine-tuning), and what the rest paid for it."""
    before, after = metrics[name]["heldout_before"], metrics[name]["heldout_after"]
    aim = "nll_skills" if "nll_skills" in after else "nll"
    outcome = verdict(after[aim] - before[aim])
    what = "the skills" if aim == "nll_skills" else "text"
    claims = {"better": "helps", "same": "changes nothing on", "worse": "hurts"}
    evidence = f"Loss on {what} {loss(before[aim])} → {loss(after[aim])} ({signed(after[aim] - before[aim])})"
    if aim == "nll_skills":
        evidence += f", on text {loss(before['nll'])} → {loss(after['nll'])} ({signed(after['nll'] - before['nll'])})"
    return Finding(outcome, f"{full_title(name)} {claims[outcome]} {what}", evidence + ".", "stages")


def _long_context(inputs: Inputs) -> Iterator[Finding]:
    for side in SIDES:
        old_length = context_before_lengthening(inputs, side)
        metrics = inputs[f"{side}_long_context"].manifest.metrics
        before, after = (
            mean_beyond(metrics.get(key, {}), old_length) for key in ("nll_by_position_before", "nll_by_position_after")
        )
        if before is None or after is None:
            continue
        outcome = verdict(after - before)
        claims = {"better": "helps", "same": "changes nothing", "worse": "hurts"}
        claim = f"Context-lengthening {claims[outcome]} at long positions ({side})"
        evidence = f"Beyond {old_length} tokens: {loss(before)} → {loss(after)} ({signed(after - before)})."
        yield Finding(outcome, claim, evidence, "context")


def _retrieval(inputs: Inputs) -> Iterator[Finding]:
    """One fact in texts longer than the old context; a change counts where the 95% intervals are apart."""
    for side in SIDES:
        old_length = context_before_lengthening(inputs, side)
        for part in found(inputs, side, old_length):
            if part.category != MAPPED or part.beyond is None:
                continue
            before, after = part.beyond
            outcome: Verdict = "same"
            if after.interval.low > before.interval.high:
                outcome = "better"
            elif after.interval.high < before.interval.low:
                outcome = "worse"
            claims = {
                "better": "Lengthening lets it find facts far back",
                "same": "Lengthening finds no more facts far back",
                "worse": "Lengthening loses facts far back",
            }
            evidence = f"In texts beyond {old_length} tokens: {percent(before.share)} → {percent(after.share)}"
            if part.within is not None:
                evidence += f"; within: {percent(part.within[0].share)} → {percent(part.within[1].share)}"
            evidence += f" (by chance {percent(part.chance)})."
            yield Finding(outcome, f"{claims[outcome]} ({side})", evidence, "context")


def _alignment(compared: Sequence[Comparison]) -> Iterator[Finding]:
    """A side's rounds: the first comparison is that of its models before compression, if there is one."""
    for side in SIDES:
        of_side = [comparison for comparison in compared if comparison.side == side]
        if not of_side:
            continue
        score, *shipped = (comparison.overall for comparison in of_side)
        claims = {"better": "beats", "same": "is level with", "worse": "loses to"}
        claim = f"The aligned {side} {claims[score.verdict]} its fine-tuned self"
        evidence = _exact(score) + "".join(
            f"; as shipped {percent(other.after)} ({points(other.difference)})" for other in shipped
        )
        yield Finding(score.verdict, claim, f"{evidence}.", "aligned")


def _exact(score: PairedScore) -> str:
    return (
        f"Exact on {score.num_examples} held-out requests: {percent(score.before)} → {percent(score.after)} "
        f"({points(score.difference)} points, 95% interval {points(score.interval.low)} to "
        f"{points(score.interval.high)})"
    )


def context_before_lengthening(inputs: Inputs, side: str) -> int:
    """Tokens of context that a model was born with."""
    first = {"server": "server_core", "device": "device_parent_core"}[side]
    return int(inputs[first].manifest.config["model"]["context_length_tokens"])


def mean_beyond(nll_by_position: Mapping[str, float], start: int) -> float | None:
    """Mean loss of the positions from `start` on; None where none was measured."""
    values = [value for bounds, value in nll_by_position.items() if int(bounds.partition("-")[0]) >= start]
    return sum(values) / len(values) if values else None


def _recovery(metrics: Mapping[str, Any]) -> Finding:
    lost, won_back = metrics["divergence"][PALETTIZED], metrics["share_won_back"]
    evidence = (
        f"Palettization moves the device model {nats(lost)} nats a token from the dense one, of which the adapter "
        f"wins back {percent(won_back)}."
    )
    if verdict(lost) == "same":
        return Finding("same", "Palettization costs next to nothing", evidence, "compression")
    claim = f"The adapter wins back {percent(won_back)}" if won_back > 0 else "The adapter wins nothing back"
    return Finding("better" if won_back > 0 else "worse", claim, evidence, "compression")


def _adapters(adapters: Sequence[FeatureAdapter]) -> Iterator[Finding]:
    """Each on its own task, judged by the interval of the pairs."""
    claims = {"better": "beats", "same": "is level with", "worse": "loses to"}
    for adapter in adapters:
        score = adapter.paired
        if score is None:
            continue
        claim = f"{adapter.title}: its adapter {claims[score.verdict]} the recovery adapter"
        yield Finding(score.verdict, claim, f"{_exact(score)}.", "adapters")


def _skills(skills: Sequence[SkillReport]) -> Iterator[Finding]:
    for skill in skills:
        device, server, best = skill.score_of("device"), skill.score_of("server"), skill.best_baseline
        if best is None:
            continue
        claims = {"above": "beats", "below": "loses to", "even": "is level with"}
        claim = f"{skill.title}: the device model {claims[device.standing]} every trivial baseline"
        if device.standing != "above":
            claim = f"{skill.title}: the device model {claims[device.standing]} “{best.name}”"
        evidence = f"Exact: {_share(device)} on device, {_share(server)} on the server; “{best.name}” {_share(best)}."
        yield Finding(STANDINGS[device.standing], claim, evidence, f"skill-{skill.name}")


def _share(score: Score) -> str:
    return f"{percent(score.exact)} ({score.num_right}/{score.num_examples})"


def _pair(metrics: Mapping[str, Mapping[str, Any]]) -> Finding:
    sizes = {side: metrics[side]["size_bytes"] + metrics[side].get("size_bytes_adapter", 0) for side in SIDES}
    byte_costs = {side: metrics["measure"][side]["heldout"]["bits_per_byte"] for side in SIDES}
    ratio = sizes["server"] / sizes["device"]
    evidence = (
        f"{size(sizes['device'])} with its adapter against {size(sizes['server'])}; held out, "
        f"{bits(byte_costs['device'])} bits a byte of text against {bits(byte_costs['server'])}."
    )
    outcome: Verdict = "better" if ratio > 1 else "worse"
    return Finding(outcome, f"{MODELS['device']} is 1/{ratio:.1f} of the server's size", evidence, "compression")
