import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]

from codling.train.state import init_state


def test_a_new_state_has_the_parameters_no_memory_and_no_steps() -> None:
    params = {"weight": jnp.ones((2, 3))}
    state = init_state(params, optax.adamw(0.1))
    assert state.params is params
    assert state.step.dtype == jnp.int32
    assert int(state.step) == 0
    np.testing.assert_array_equal(state.optimizer_state[0].mu["weight"], np.zeros((2, 3)))
