"""Temperatures fall from step to step, come with the batches, and go on where a run is resumed."""

import numpy as np
import pytest

from codling.config import from_dict
from codling.data.loader import build_loader
from codling.data.mixture import MixtureWeights
from codling.data.pack import PackedRows
from codling.data.tokens import join_documents
from codling.errors import UserError
from codling.pretrain.anneal import AnnealConfig, AnnealedBatch, AnnealedLoader, temperatures

FALL = AnnealConfig(start_temperature=1.0, end_temperature=1e-3)
MIXTURE = MixtureWeights(share_by_kind={"text": 1.0})


def rows() -> dict[str, PackedRows]:
    documents = join_documents([list(range(100))], None)
    return {"text": PackedRows(documents, row_length_tokens=8, seed=0, split_documents=True)}


def test_the_fall_is_geometric_and_ends_at_its_end() -> None:
    np.testing.assert_allclose(temperatures(FALL, 4), [1.0, 0.1, 0.01, 0.001], rtol=1e-5)


def drawn(loader: AnnealedLoader, count: int) -> list[AnnealedBatch]:
    return [next(loader) for _ in range(count)]


def test_every_row_has_the_temperature_of_its_step_also_after_a_resume() -> None:
    with build_loader(rows(), MIXTURE, batch_size_rows=2) as inner:
        loader = AnnealedLoader(inner, temperatures(FALL, 4))
        begun = drawn(loader, 2)
        state = loader.get_state()
        ended = drawn(loader, 2)
    assert [batch.temperature.tolist() for batch in (*begun, *ended)] == [
        [pytest.approx(value)] * 2 for value in (1.0, 0.1, 0.01, 0.001)
    ]
    with build_loader(rows(), MIXTURE, batch_size_rows=2) as inner:
        loader = AnnealedLoader(inner, temperatures(FALL, 4))
        loader.set_state(state)
        resumed = drawn(loader, 2)
    for batch, again in zip(ended, resumed, strict=True):
        np.testing.assert_array_equal(batch.tokens, again.tokens)
        np.testing.assert_array_equal(batch.temperature, again.temperature)


@pytest.mark.parametrize(("start", "end"), [(1.0, 2.0), (1.0, 0.0), (-1.0, -2.0)])
def test_temperatures_that_do_not_fall_are_refused(start: float, end: float) -> None:
    with pytest.raises(UserError, match="recipe: temperatures must fall and stay positive: 0 < end_temperature"):
        from_dict(AnnealConfig, {"start_temperature": start, "end_temperature": end}, source="recipe")
