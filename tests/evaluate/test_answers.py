"""Answers in batches are the answers one would get alone."""

import jax
import numpy as np

from codling.evaluate.answers import greedy_answers
from codling.tokenizer.special_tokens import END, EOS
from tests.conftest import Pair


def test_prompts_of_any_length_and_order_are_answered_as_if_alone(pair: Pair) -> None:
    rng = np.random.default_rng(0)
    prompts = [rng.integers(20, 600, length).tolist() for length in (3, 30, 1, 17)]
    together = greedy_answers(pair.model, prompts, 8)
    assert together == [greedy_answers(pair.model, [prompt], 8)[0] for prompt in prompts]
    assert together[::-1] == greedy_answers(pair.model, prompts[::-1], 8)


def test_an_answer_is_the_most_likely_token_each_time(pair: Pair) -> None:
    prompt = [1, 50, 60, 70]
    (answer,) = greedy_answers(pair.model, [prompt], 5)
    ids = list(prompt)
    for token in answer:
        tokens = jax.numpy.asarray([ids])
        positions = jax.numpy.arange(len(ids))[None]
        theta = pair.model.config.rope_theta
        hidden = pair.model(tokens, positions, jax.numpy.ones_like(tokens), rope_theta=theta)
        assert int(jax.numpy.argmax(pair.model.logits(hidden[0, -1]))) == token
        ids.append(token)
        if token in (END.id, EOS.id):
            break
