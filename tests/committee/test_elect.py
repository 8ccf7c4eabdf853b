"""The best of each family stand beside the members so far; the best of all are elected, one of the own side always."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from codling.artifact.hf import WEIGHTS_FILE
from codling.artifact.model_files import load_model
from codling.artifact.stage import Artifact
from codling.artifact.workspace import SilentReporter, Workspace
from codling.committee.committee import Candidate, Committee, Method, load_committee, member_path, open_members
from codling.committee.draw_prompts import VALIDATION_FILE
from codling.committee.elect import (
    AlignedConfig,
    ElectionConfig,
    FoundConfig,
    elect,
    run_aligned,
    run_election,
    run_found,
    skill_scores,
)
from codling.committee.prompt_task import RewardWeights
from codling.committee.task_prompts import write_task_prompts
from codling.errors import UserError
from codling.evaluate.answers import greedy_answers
from codling.posttrain.reward_files import save_reward_model
from codling.tokenizer.encode import MODEL_FILE
from tests.committee.made_committee import ask, judge, leave, leave_committee, leave_model, opinionated, stand
from tests.conftest import Pair

ROUND = ElectionConfig(side="server", round=2, max_members=3, max_answer_tokens=4)
PROMPTS = [
    ask("one?", expected="1"),
    ask("two?", skill="talk"),
    ask("three?", skill="talk", expected="3"),
    ask("four?", skill="bare"),
]
KEY = jax.random.key(0)


def new(method: Method, score: float, **changes: Any) -> Candidate:
    return stand(f"server_round2_{method}", method, round=2, score=score, **changes)


def old(name: str, score: float, **changes: Any) -> Candidate:
    return stand(name, score=score, elected_in=(1,), **changes)


def test_of_each_family_the_best_newcomer_stands() -> None:
    standing = [
        old("sft", 0.1),
        new(Method.RS, 0.3),
        new(Method.DPO, 0.5),
        new(Method.IPO, 0.6),
        new(Method.MDLOO, 0.4),
    ]
    config = replace(ROUND, max_members=9)
    assert elect(standing, config) == {"sft", "server_round2_rs", "server_round2_ipo", "server_round2_mdloo"}
    assert elect(standing, ROUND) == {"server_round2_ipo", "server_round2_mdloo", "server_round2_rs"}


def test_members_so_far_stay_where_they_are_better() -> None:
    standing = [old("a", 0.9), old("b", 0.8), old("c", 0.7), new(Method.RS, 0.75), new(Method.MDLOO, 0.1)]
    assert elect(standing, ROUND) == {"a", "b", "server_round2_rs"}


def test_of_equals_the_earlier_stays() -> None:
    standing = [old("a", 0.5), old("b", 0.5), new(Method.RS, 0.5), new(Method.DPO, 0.5), new(Method.IPO, 0.5)]
    assert elect(standing, ROUND) == {"a", "b", "server_round2_rs"}
    assert elect(standing, replace(ROUND, max_members=9)) == {"a", "b", "server_round2_rs", "server_round2_dpo"}


@pytest.mark.parametrize("max_members", [1, 2, 3])
def test_one_is_of_the_own_side_however_bad(max_members: int) -> None:
    teachers = [old(name, 0.9, side="device", round=2) for name in "abcd"]
    elected = elect([*teachers, old("own", 0.1), new(Method.RS, 0.2)], replace(ROUND, max_members=max_members))
    assert elected == {"server_round2_rs", *"abcd"[: max_members - 1]}


@pytest.mark.parametrize("change", ["max_members", "max_answer_tokens", "round"])
def test_an_election_of_nobody_is_refused(change: str) -> None:
    with pytest.raises(ValueError, match="must be >= 1"):
        replace(ROUND, **{change: 0})  # type: ignore[arg-type]


def test_scores_are_means_by_skill_of_what_greedy_answers_earn(pair: Pair) -> None:
    task = judge(pair, PROMPTS, RewardWeights(check=1.0, reward_model=0.5))
    found = skill_scores(pair.model, task, 4)
    rewards = task.score(range(4), greedy_answers(pair.model, task.prompts, 4)).rewards
    assert found["arithmetic"].reward == pytest.approx(rewards[0])
    assert found["talk"].reward == pytest.approx(np.mean(rewards[1:3]))
    assert {name: one.num_prompts for name, one in found.items()} == {"arithmetic": 1, "bare": 1, "talk": 2}
    assert (found["talk"].correct, found["bare"].correct) == (0.0, None)


class Elected:
    """A real election between untrained models, the second side's as a teacher."""

    def __init__(self, pair: Pair, store: Path) -> None:
        self.store, self.pair = store, pair
        sft, teacher = leave_model(store, pair, "server_sft"), leave_model(store, pair, "device_sft", 1.3)
        before = Committee(
            side="server",
            round=1,
            candidates=(
                stand("server_sft", score=0.2, elected_in=(0, 1)),
                stand("forgotten", Method.DPO, round=1, score=0.15),
                stand("device_sft", side="device", score=0.9, elected_in=(1,)),
            ),
        )
        self.models = {"server_sft": sft, "device_sft": teacher}
        self.before = leave_committee(store, before, self.models)
        rs = leave_model(store, pair, "server_round2_rs", 0.7, {"start": self.before})
        self.new = {"rs": rs, "mdloo": leave_model(store, pair, "server_round2_mdloo", 0.4, {"start": rs})}
        self.inputs: dict[str, Artifact] = {
            "committee": self.before,
            "prompts": leave(store, "prompts", lambda path: write_task_prompts(path / VALIDATION_FILE, PROMPTS)),
            "tokenizer": leave(store, "tokenizer", lambda path: _write_bytes(path / MODEL_FILE, pair.tokenizer.model)),
            "reward_model": leave(
                store,
                "rewards",
                lambda path: save_reward_model(path, opinionated(pair), tokenizer_sha256=pair.tokenizer.sha256),
            ),
        }

    def run(self, path: Path, new: dict[str, Artifact], **changes: Any) -> dict[str, Any]:
        path.mkdir(exist_ok=True)
        config = replace(ROUND, rewards=RewardWeights(check=0.0, reward_model=1.0), **changes)
        return run_election(config, self.inputs | new, Workspace("election", path, SilentReporter()), KEY)


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


@pytest.fixture(scope="module")
def election(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Elected:
    return Elected(pair, tmp_path_factory.mktemp("election"))


def test_a_round_is_elected_and_remembers_everybody(pair: Pair, election: Elected, tmp_path: Path) -> None:
    metrics = election.run(tmp_path, election.new, max_members=2)
    committee = load_committee(tmp_path)
    by_name = {one.name: one for one in committee.candidates}
    assert list(by_name) == ["server_sft", "forgotten", "device_sft", "server_round2_rs", "server_round2_mdloo"]
    assert metrics["members"] == sorted(one.name for one in committee.members)
    assert metrics["best"] == committee.best.name
    assert committee.best.side == "server"
    assert set(metrics["scores"]) == set(by_name) - {"forgotten"}
    task = judge(pair, PROMPTS, RewardWeights(check=0.0, reward_model=1.0))
    models = election.models | {"server_round2_rs": election.new["rs"], "server_round2_mdloo": election.new["mdloo"]}
    for name, artifact in models.items():
        skills = skill_scores(load_model(artifact.path), task, 4)
        assert by_name[name].skills == skills
        assert by_name[name].score == pytest.approx(np.mean([one.reward for one in skills.values()]))
    assert by_name["forgotten"] == load_committee(election.before.path).candidates[1]
    assert [(2 in one.elected_in) for one in by_name.values()] == [one in committee.members for one in by_name.values()]
    for member in open_members(tmp_path):
        source = load_model(models[member.about.name].path)
        np.testing.assert_array_equal(member.model.embedding, source.embedding)


def test_newcomers_know_what_they_started_from_and_learned_from(election: Elected, tmp_path: Path) -> None:
    election.run(tmp_path, election.new)
    by_name = {one.name: one for one in load_committee(tmp_path).candidates}
    rs, mdloo = by_name["server_round2_rs"], by_name["server_round2_mdloo"]
    assert (rs.parents, rs.teachers) == (("server_sft",), ("device_sft", "server_sft"))
    assert (mdloo.parents, mdloo.teachers) == (("server_round2_rs",), ())
    assert (rs.method, rs.side, rs.round, rs.model_id) == (Method.RS, "server", 2, election.new["rs"].manifest.id)


def test_a_newcomer_from_elsewhere_and_a_round_without_any_are_refused(election: Elected, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the round trained no model; give it at least one of rs, dpo, ipo, mdloo"):
        election.run(tmp_path, {})
    with pytest.raises(UserError, match=r"started from server_round2_rs-.*no model of this round nor its committee"):
        election.run(tmp_path, {"mdloo": election.new["mdloo"]})
    assert not list(tmp_path.iterdir())


def test_a_side_begins_with_its_fine_tuned_model_and_its_teachers(election: Elected, tmp_path: Path) -> None:
    workspace = Workspace("found", tmp_path, SilentReporter())
    inputs = {"sft": election.models["device_sft"]}
    assert run_found(FoundConfig(side="device"), inputs, workspace, KEY) == {"members": ["device_sft"]}
    assert load_committee(tmp_path).best.model_id == election.models["device_sft"].manifest.id
    # A candidate comes only once, whoever brings it.
    store = tmp_path / "other"
    other = leave_model(store, election.pair, "phone_sft")
    metrics = run_found(
        FoundConfig(side="device"),
        {"sft": other, "teachers": election.before},
        Workspace("f", store, SilentReporter()),
        KEY,
    )
    assert metrics == {"members": ["device_sft", "phone_sft", "server_sft"]}
    committee = load_committee(store)
    assert {one.name: one.elected_in for one in committee.candidates} == {
        "phone_sft": (0,),
        "server_sft": (0,),
        "forgotten": (),
        "device_sft": (0,),
    }


def test_the_finished_model_is_the_best_of_the_last_committee(election: Elected, tmp_path: Path) -> None:
    metrics = run_aligned(
        AlignedConfig(), {"committee": election.before}, Workspace("aligned", tmp_path, SilentReporter()), KEY
    )
    assert metrics == {"candidate": "server_sft", "method": "sft", "score": 0.2}
    assert (tmp_path / WEIGHTS_FILE).samefile(member_path(election.before.path, "server_sft") / WEIGHTS_FILE)
    np.testing.assert_array_equal(load_model(tmp_path).embedding, election.pair.model.embedding)
