"""A bundle to talk to, run by JAX: as it is trained and evaluated."""

from pathlib import Path

from codling.artifact.bundle import load_bundle
from codling.chat.decoder import Opened
from codling.chat.jax_decoder import JaxDecoder
from codling.model.generate import Sampling


def open_on_jax(bundle: Path, adapter: str | None, sampling: Sampling, seed: int) -> Opened:
    """Read a bundle, its adapter folded in. Errors: as for `load_bundle`."""
    opened = load_bundle(bundle, adapter)
    return Opened(opened.tokenizer, JaxDecoder(opened.model, sampling, seed), opened.identity)
