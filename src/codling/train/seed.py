"""From JAX's random keys to the seeds of host-side code."""

import jax
from jaxtyping import PRNGKeyArray


def seed_from(key: PRNGKeyArray) -> int:
    """A seed for NumPy or the loader, drawn from the stage's key."""
    return int(jax.random.randint(key, (), 0, 2**31 - 1))
