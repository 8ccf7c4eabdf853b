"""Pieces of work on all cores."""

import os
import threading

import numpy as np
import pytest

from codling.compress.cores import on_all_cores


def test_outcomes_come_in_the_order_of_the_pieces() -> None:
    assert on_all_cores(lambda piece: piece * 2, range(50)) == [2 * piece for piece in range(50)]


@pytest.mark.skipif(os.cpu_count() == 1, reason="there is one core")
def test_pieces_run_side_by_side() -> None:
    both = threading.Barrier(2, timeout=10)
    assert len(on_all_cores(lambda _: both.wait(), range(2))) == 2


def test_one_piece_alone_runs_where_it_is_asked_for() -> None:
    assert on_all_cores(lambda _: threading.current_thread(), [0]) == [threading.current_thread()]


def test_what_a_piece_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        on_all_cores(lambda piece: 1 / piece, [1, 0])


def test_products_are_the_same_as_alone() -> None:
    matrices = np.random.default_rng(0).standard_normal((4, 60, 60))
    for found, matrix in zip(on_all_cores(lambda one: one @ one, list(matrices)), matrices, strict=True):
        np.testing.assert_allclose(found, matrix @ matrix, rtol=1e-12)


def test_pieces_of_pieces_do_not_wait_for_each_other() -> None:
    def inner(piece: int) -> int:
        return sum(on_all_cores(lambda one: one * piece, range(4)))

    assert on_all_cores(inner, range(8)) == [6 * piece for piece in range(8)]
