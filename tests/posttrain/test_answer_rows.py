import pytest

from codling.posttrain.answer_rows import answer_rows

PROMPTS, ANSWERS = [[5, 6, 7], [8]], [[1, 2], [3, 4, 9]]


def test_each_place_predicts_the_next_token_and_the_mask_is_on_the_answer() -> None:
    rows = answer_rows(PROMPTS, ANSWERS, 6)
    assert rows.tokens.tolist() == [[5, 6, 7, 1, 0, 0], [8, 3, 4, 0, 0, 0]]
    assert rows.targets.tolist() == [[6, 7, 1, 2, 0, 0], [3, 4, 9, 0, 0, 0]]
    assert [row[mask].tolist() for row, mask in zip(rows.targets, rows.mask, strict=True)] == ANSWERS
    assert rows.segment_ids.tolist() == [[1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0]]
    assert rows.batch.positions.tolist() == [[0, 1, 2, 3, 0, 0], [0, 1, 2, 0, 0, 0]]
    assert rows.batch.loss_weights.sum() == 5


def test_a_row_that_is_too_short_is_an_error() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        answer_rows(PROMPTS, ANSWERS, 3)
