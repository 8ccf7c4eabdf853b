import numpy as np
import pytest

from codling.posttrain.gradings import Gradings, Truthfulness, Verbosity
from codling.posttrain.levels import Level
from codling.posttrain.pair_rows import encode_pair, pair_rows
from codling.posttrain.preferences import PreferencePair
from codling.posttrain.prompts import Prompt
from codling.tokenizer.messages import Message
from codling.tokenizer.special_tokens import END
from tests.conftest import Pair

PAIR = PreferencePair(
    prompt=Prompt(messages=(Message(role="user", content="What is red?"),)),
    answers=(Message(role="assistant", content="A cat."), Message(role="assistant", content="A rose is red.")),
    better=1,
    level=Level.BETTER,
    gradings=(Gradings(truthfulness=Truthfulness.UNTRUTHFUL), Gradings(verbosity=Verbosity.RIGHT_LENGTH)),
    source="here",
    license="CC0-1.0",
)


def test_answers_are_spelled_as_they_would_be_sampled(pair: Pair) -> None:
    encoded = encode_pair(pair.tokenizer, PAIR)
    shown = pair.tokenizer.decode(encoded.prompt, show_special=True)
    assert shown.endswith("<|user|>What is red?<|end|><|assistant|>")
    assert pair.tokenizer.decode(encoded.chosen) == "A rose is red."
    assert pair.tokenizer.decode(encoded.rejected) == "A cat."
    assert encoded.chosen[-1] == encoded.rejected[-1] == END.id
    assert encoded.length_tokens == len(encoded.prompt) + len(encoded.chosen)


def test_rows_hold_both_answers_whole(pair: Pair) -> None:
    encoded = encode_pair(pair.tokenizer, PAIR)
    rows = pair_rows([encoded], [PAIR], [0.85], [0.5], encoded.length_tokens)
    assert rows.tokens.shape == (2, encoded.length_tokens)
    for row, answer in enumerate((encoded.chosen, encoded.rejected)):
        whole = [*encoded.prompt, *answer]
        assert rows.tokens[row, : len(whole)].tolist() == whole
        assert rows.ends[row] == len(whole) - 1
        assert rows.tokens[row, rows.ends[row]] == END.id
        is_on = rows.batch.loss_weights[row] == 1.0
        assert rows.batch.targets[row, is_on].tolist() == answer
    np.testing.assert_allclose(rows.probabilities, [0.85, 0.85])
    np.testing.assert_allclose(rows.margins, [0.5, 0.5])
    # Of the better answer first: it is the second of the pair.
    assert rows.grades.tolist() == [[-1, 1, -1, -1], [-1, -1, 0, -1]]


def test_a_row_that_is_too_short_is_an_error(pair: Pair) -> None:
    encoded = encode_pair(pair.tokenizer, PAIR)
    with pytest.raises(ValueError, match="broadcast"):
        pair_rows([encoded], [PAIR], [0.85], [0.5], encoded.length_tokens - 1)
