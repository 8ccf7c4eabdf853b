"""coremltools' palettization, 16 rows a table: the nearest relative of ours, uncalibrated, with 16-bit tables.

Its palettizer of PyTorch models sees the model as a heap of linear layers, as it knows nothing of what they are fed. It
finds the best tables there are for the weights (k-means in one dimension can be solved exactly), where its palettizer
of Core ML programs, of the same settings, does so for large groups only: to its advantage.

Source: https://apple.github.io/coremltools/docs-guides/source/opt-palettization-api.html, `PostTrainingPalettizer`.
"""

import logging
from collections.abc import Iterator, Mapping

import numpy as np

from codling.bench.peer_result import (
    PeerInput,
    PeerResult,
    StoredWeight,
    dense_projections,
    require_packages,
    with_our_embedding,
)
from codling.errors import UserError

PACKAGES = ("torch", "coremltools")
WIDTHS_BITS = (4, 2)
ROWS_PER_TABLE = 16
ENTRY_BITS = 16


def compress_coreml(given: PeerInput) -> Iterator[PeerResult]:
    """One result a width; the embedding is ours (`with_our_embedding`).

    Errors: `UserError` where a package is missing, or the rows of a matrix do not divide into tables, before anything
    is computed: coremltools would leave such a matrix as it is.
    """
    require_packages("coremltools", PACKAGES, "pip install 'codling[compare]'")
    for name, weight in dense_projections(given).items():
        if weight.shape[0] % ROWS_PER_TABLE:
            raise UserError(f"{name}: tables of {ROWS_PER_TABLE} rows do not divide its {weight.shape[0]}")
    return _results(given)


def _results(given: PeerInput) -> Iterator[PeerResult]:
    weights = dense_projections(given)
    for bits in WIDTHS_BITS:
        given.say(f"coremltools: {bits} bits")
        yield with_our_embedding(
            f"coremltools, {bits} bits, {ROWS_PER_TABLE} rows a table", given, palettize_linears(weights, bits)
        )


def palettize_linears(weights: Mapping[str, np.ndarray], width_bits: int) -> dict[str, StoredWeight]:
    """What coremltools makes of [out, in] matrices whose rows divide into tables."""
    import torch
    from coremltools.optimize.torch.palettization import PostTrainingPalettizer, PostTrainingPalettizerConfig

    logging.getLogger("coremltools.optimize.torch").setLevel(logging.WARNING)
    layers = torch.nn.ModuleList()
    for weight in weights.values():
        layers.append(torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False))
        layers[-1].weight.data = torch.tensor(weight)
    config = PostTrainingPalettizerConfig.from_dict(
        {
            "global_config": {
                "n_bits": width_bits,
                "granularity": "per_grouped_channel",
                "group_size": ROWS_PER_TABLE,
                # Rounds weights to four decimals first; exact is quick enough here.
                "enable_fast_kmeans_mode": False,
            }
        }
    )
    small = PostTrainingPalettizer(layers, config).compress()
    found = {}
    for (name, weight), layer in zip(weights.items(), small, strict=True):
        num_tables = weight.shape[0] // ROWS_PER_TABLE
        stored_bits = float(weight.size * width_bits + num_tables * (1 << width_bits) * ENTRY_BITS)
        # Tables of 16 bits are what a Core ML program has.
        found[name] = StoredWeight(layer.weight.detach().numpy().astype(np.float16).astype(np.float32), stored_bits)
    return found
