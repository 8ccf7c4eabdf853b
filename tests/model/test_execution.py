import jax.numpy as jnp
import pytest

from codling.config import from_dict
from codling.errors import UserError
from codling.model.execution import PLAIN, ComputeConfig, ComputeType, Execution


def test_the_plain_way_is_float32_on_no_mesh() -> None:
    assert PLAIN.dtype == jnp.float32
    assert PLAIN.partition is None


def test_a_recipe_names_the_type() -> None:
    compute = from_dict(ComputeConfig, {"dtype": "bfloat16", "remat": "layers"}, source="test")
    assert Execution(compute).dtype == jnp.bfloat16
    assert compute.dtype is ComputeType.BFLOAT16


@pytest.mark.parametrize(("key", "value"), [("dtype", "float16"), ("remat", "all"), ("attention", "flash")])
def test_unknown_choices_are_refused_with_the_known_ones(key: str, value: str) -> None:
    with pytest.raises(UserError, match=f"key '{key}'.*got '{value}'"):
        from_dict(ComputeConfig, {key: value}, source="test")
