import dataclasses
import io
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from codling.artifact.hf import read_json
from codling.artifact.model_files import load_model
from codling.bench import rl_side as module
from codling.bench.rl_side import MODEL, Iteration, draw_prompts, reward, run_ours, serve, tokens_per_s, write_model
from codling.tokenizer.special_tokens import END

SMALL = dataclasses.replace(MODEL, vocab_size=400, model_dim=16, ffn_dim=24, num_layers=1, head_dim=8)
SMALL_WORK = {"NUM_PROMPTS": 4, "NUM_ANSWERS": 2, "BATCH_SIZE_PROMPTS": 2, "MAX_ANSWER_TOKENS": 4, "MAX_ITERATIONS": 9}


def test_an_iteration_counts_its_answers_against_all_its_time() -> None:
    found = tokens_per_s([Iteration(60, 1.0, 2.0, 3.0), Iteration(120, 1.0, 1.0, 1.0)])
    assert found == {"iteration": 20.0, "sampling": 90.0, "scoring": 60.0, "updates": 45.0}


def test_prompts_leave_room_for_answers_and_are_the_same_in_every_process() -> None:
    prompts = draw_prompts()
    assert prompts == draw_prompts()
    lengths = [len(prompt) for prompt in prompts]
    assert len(set(lengths)) > 8
    assert max(lengths) + module.MAX_ANSWER_TOKENS <= MODEL.context_length_tokens


def test_answers_end_by_themselves_at_about_one_token_in_24(tmp_path: Path) -> None:
    write_model(tmp_path)
    model = load_model(tmp_path)
    tokens = jnp.asarray([prompt[: module.MIN_PROMPT_TOKENS] for prompt in draw_prompts()])
    places = jnp.broadcast_to(jnp.arange(tokens.shape[1])[None], tokens.shape)
    hidden = model(tokens, places, jnp.ones_like(tokens), rope_theta=MODEL.rope_theta)
    chances = jax.nn.softmax(model.logits(hidden), axis=-1)[:, :, END.id]
    assert 1 / 32 < float(jnp.mean(chances)) < 1 / 16
    assert float(jnp.std(chances)) < float(jnp.mean(chances))  # anywhere, and not in some contexts alone


def test_the_reward_is_a_share() -> None:
    assert reward([0, 399, 199, 200], SMALL) == 0.5


def test_it_is_ready_once_warm_and_answers_every_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("2\n1\n"))
    served = serve()
    next(served)
    for number in range(module.WARMUP_ITERATIONS + 2):
        assert capsys.readouterr().out == ("ready\n" if number == module.WARMUP_ITERATIONS else "")
        served.send(Iteration(100 if number else 10**9, 1.0, 1.0, 2.0))
    assert json.loads(capsys.readouterr().out)["iteration"] == 25.0
    with pytest.raises(StopIteration):
        served.send(Iteration(400, 1.0, 1.0, 2.0))
    assert json.loads(capsys.readouterr().out)["iteration"] == 100.0


def test_our_side_trains_what_the_other_reads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_model(tmp_path, SMALL)
    assert read_json(tmp_path / "config.json")["architectures"] == ["Qwen3ForCausalLM"]
    assert load_model(tmp_path).config == SMALL
    for name, value in SMALL_WORK.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(sys, "stdin", io.StringIO("1\n"))
    run_ours(tmp_path, serve())
    ready, line = capsys.readouterr().out.splitlines()
    assert ready == "ready"
    assert min(json.loads(line).values()) > 0
