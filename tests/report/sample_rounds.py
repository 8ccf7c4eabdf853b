"""Rounds of alignment for the sample build: what their stages leave on disk, without any training.

Elections are held by the real rule, among candidates whose scores are made up.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from codling.artifact.hf import write_json
from codling.artifact.manifest import Manifest
from codling.artifact.stage import Artifact
from codling.committee.committee import COMMITTEE_FILE, Candidate, Committee, Method, SkillScore
from codling.committee.elect import ElectionConfig, elect
from codling.config import to_dict

SKILLS = ("arithmetic", "formats")
NEW = (Method.RS, Method.DPO, Method.MDLOO)
NUM_ITERATIONS = 8


def add_rounds(
    inputs: dict[str, Artifact],
    folder: Path,
    num_server: int,
    num_device: int,
    methods: Sequence[Method] = NEW,
) -> None:
    """Add the stages of all rounds, and ship what came of the last ones; without any round there is no such stage."""
    if not num_server + num_device:
        return
    add(inputs, folder, "task_prompts", "task_prompts", {}, {"num_train": 400, "num_validation": 200, "skills": {}})
    server = _add_side(inputs, folder, "server", num_server, None, methods)
    _add_side(inputs, folder, "device", num_device, server, methods)
    if num_server:
        _fill(inputs, "server", model="server_aligned")
        _fill(inputs, "measure", server_sft="server_sft")
    if num_device:
        _fill(inputs, "device_compress", model="device_aligned")
        _fill(inputs, "device_recover", teacher="device_aligned")
        _fill(inputs, "measure", device_sft="device_sft", device_aligned="device_aligned")


def _fill(inputs: dict[str, Artifact], stage: str, **roles: str) -> None:
    path, manifest = inputs[stage]
    ids = {role: inputs[source].manifest.id for role, source in roles.items()}
    inputs[stage] = Artifact(path, replace(manifest, inputs=manifest.inputs | ids))


def add(
    inputs: dict[str, Artifact],
    folder: Path,
    stage: str,
    kind: str,
    roles: dict[str, str],
    metrics: dict[str, Any],
    config: dict[str, Any] | None = None,
) -> Path:
    """Add one stage; `roles` name the stages that fill them."""
    path = folder / stage
    path.mkdir()
    manifest = Manifest(
        schema_version=1,
        id=f"{stage}-{len(inputs):012x}",
        kind=kind,
        stage=stage,
        stage_version=1,
        seed=7,
        config=config or {},
        inputs={role: inputs[source].manifest.id for role, source in roles.items()},
        metrics=metrics,
        files_sha256={},
        commit="abc123",
        libraries={"jax": "0.10.2"},
        hardware={"processor": "Test CPU", "cores": 2, "memory_gib": 8.0, "system": "Linux", "python": "3.11.7"},
        started="2026-01-01T01:00:00+00:00",
        wall_time_s=10.0,
    )
    inputs[stage] = Artifact(path, manifest)
    return path


def _add_side(
    inputs: dict[str, Artifact],
    folder: Path,
    side: str,
    count: int,
    teachers: Committee | None,
    methods: Sequence[Method],
) -> Committee:
    own = Candidate(
        name=f"{side}_sft", method=Method.SFT, side=side, round=0, model_id="a", score=0.0, skills={}, elected_in=(0,)
    )
    others = () if teachers is None else teachers.candidates
    elected = () if teachers is None else teachers.members
    guests = [replace(one, elected_in=(0,) if one in elected else ()) for one in others]
    committee = Committee(side=side, round=0, candidates=(own, *guests))
    roles = {"sft": own.name} | ({"teachers": f"server_round{teachers.round}_committee"} if teachers else {})
    _add_committee(inputs, folder, committee, roles)
    for number in range(1, count + 1):
        committee = _add_round(inputs, folder, committee, number, methods)
    if count:
        last = {"committee": f"{side}_round{count}_committee"}
        add(inputs, folder, f"{side}_aligned", "model", last, {"candidate": committee.best.name})
    return committee


def _add_committee(inputs: dict[str, Artifact], folder: Path, committee: Committee, roles: dict[str, str]) -> None:
    name = f"{committee.side}_round{committee.round}_committee"
    path = add(inputs, folder, name, "committee", roles, {}, {"rewards": {"check": 1.0, "reward_model": 0.0}})
    write_json(path / COMMITTEE_FILE, to_dict(committee))


def _add_round(
    inputs: dict[str, Artifact], folder: Path, before: Committee, number: int, methods: Sequence[Method]
) -> Committee:
    side, name, best = before.side, f"{before.side}_round{number}", before.best.name
    members = tuple(member.name for member in before.members)
    committee = f"{side}_round{number - 1}_committee"
    add(
        inputs, folder, f"{name}_pairs", "pairs", {"committee": committee, "prompts": "task_prompts"}, {"num_pairs": 40}
    )
    add(inputs, folder, f"{name}_labels", "preferences", {"pairs": f"{name}_pairs"}, label_metrics(number))
    rewarded = {"labels_000": f"{name}_labels", "model": "server_sft", "tokenizer": "tokenizer"}
    add(inputs, folder, f"{name}_rewards", "reward_model", rewarded, reward_metrics(number))
    drawn = {"committee": committee, "reward_model": f"{name}_rewards"}
    add(inputs, folder, f"{name}_best", "demonstrations", drawn, best_metrics(members))
    new: list[Candidate] = []
    for method in methods:
        start = committee if method is Method.RS else f"{name}_rs"
        _add_model(inputs, folder, f"{name}_{method}", start, method, number)
        new.append(
            Candidate(
                name=f"{name}_{method}",
                method=method,
                side=side,
                round=number,
                model_id="a",
                parents=(best if method is Method.RS else f"{name}_rs",),
                teachers=() if method is Method.MDLOO else members,
                score=0.0,
                skills={},
            )
        )
    standing = [_scored(one, number) for one in (*before.members, *new)]
    winners = elect(standing, ElectionConfig(side=side, round=number, max_members=3))
    known = {one.name: one for one in standing}
    candidates = [known.get(one.name, one) for one in (*before.candidates, *new)]
    after = Committee(
        side=side,
        round=number,
        candidates=tuple(
            replace(one, elected_in=(*one.elected_in, number)) if one.name in winners else one for one in candidates
        ),
    )
    roles = {"committee": committee, "reward_model": f"{name}_rewards"} | {m.value: f"{name}_{m}" for m in methods}
    _add_committee(inputs, folder, after, roles)
    return after


def _scored(one: Candidate, election: int) -> Candidate:
    """SFT 0.4; a round adds 0.1, and a method its own; the other side's are better. Each election has its own noise."""
    gain = {Method.SFT: 0.0, Method.RS: 0.02, Method.DPO: -0.05, Method.IPO: 0.01, Method.MDLOO: 0.07}[one.method]
    score = 0.4 + 0.1 * one.round + gain + (0.05 if one.side == "server" else 0.0) + 0.001 * election
    skills = {
        skill: SkillScore(reward=score + shift, correct=score + shift, num_prompts=100)
        for skill, shift in zip(SKILLS, (0.1, -0.1), strict=True)
    }
    return replace(one, score=score, skills=skills)


def _add_model(inputs: dict[str, Artifact], folder: Path, name: str, start: str, method: Method, number: int) -> None:
    metrics: dict[str, Any] = {"num_tokens": 1000}
    if method is Method.RS:
        losses = {"nll_by_kind": {"stories": 4.0, "arithmetic": 0.5}, "nll": 4.0}
        metrics |= {"heldout_before": losses | {"nll_skills": 0.5}, "heldout_after": losses | {"nll_skills": 0.45}}
    records = online_records(number)
    if method is Method.MDLOO:
        metrics = {"num_iterations": len(records), "num_answers": 1000, "first": records[0], "last": records[-1]}
    path = add(inputs, folder, name, "model", {"start": start}, metrics)
    if method is Method.MDLOO:
        (path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def online_records(number: int) -> list[dict[str, float]]:
    """Reward rises by 0.02 an iteration, at more and more KL."""
    return [
        {
            "step": step,
            "reward": 0.3 + 0.1 * number + 0.02 * step,
            "reward_check": 0.3,
            "kl_to_reference_sampled": 0.05 * (step - 1) ** 1.5,
            "answer_tokens": 20.0 + step,
            "cut_off": 0.01,
            "entropy": 0.9 - 0.05 * step,
            "disagreement": 1e-6 * step,
        }
        for step in range(1, NUM_ITERATIONS + 1)
    ]


def label_metrics(number: int) -> dict[str, Any]:
    """Of 40 pairs 30 labelled."""
    levels = {"significantly_better": 12, "better": 9, "slightly_better": 6, "negligibly_better": 3}
    aside = {"neither answer is better": 8 + number, "the prompt has no check": 2 - number}
    return {
        "labeler": "checks",
        "num_pairs": 40,
        "num_labeled": 30,
        "num_by_level": levels,
        "num_set_aside": aside,
    }


def reward_metrics(number: int) -> dict[str, Any]:
    """From chance to 90% of 100 held-out pairs."""

    def figures(accuracy: float) -> dict[str, Any]:
        return {
            "num_pairs": 100,
            "accuracy": accuracy,
            "accuracy_by_level": {"significantly_better": accuracy + 0.05, "better": accuracy - 0.05},
            "calibration_error": 0.08,
            "grading_accuracy": {"InstructionFollowing": 0.7, "Verbosity": 0.66},
        }

    return {
        "num_train_pairs": 200 * number,
        "num_heldout_pairs": 100,
        "before": figures(0.5),
        "after": figures(0.9),
    }


def best_metrics(members: Sequence[str]) -> dict[str, Any]:
    """The first member wins three of four prompts of arithmetic, the last all of formats."""
    first, last = members[0], members[-1]
    wins = {skill: dict.fromkeys(members, 0) for skill in SKILLS}
    wins["arithmetic"][first] += 30
    wins["arithmetic"][last] += 10
    wins["formats"][last] += 35
    return {
        "num_prompts": 100,
        "num_answers": 400,
        "num_without_good_answer": 25,
        "num_guarded_out": {"repeats": 2},
        "num_demonstrations": 73,
        "wins": wins,
        "mean_reward_of_best": 0.95,
    }
