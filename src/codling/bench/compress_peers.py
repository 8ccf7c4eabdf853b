"""What others make of the same model, from the same calibration text: the peers of `codling bench compress`.

Every peer hands back dense weights, and all of them are run by our own model: only the weights differ. What a peer does
to activations or how fast it runs is not compared.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from codling.artifact.bundle import NO_ADAPTER, is_palettized, load_bundle
from codling.bench.compress_coreml import compress_coreml
from codling.bench.compress_gptq import compress_gptq
from codling.bench.compress_llama import compress_llama
from codling.bench.compress_nearest import compress_nearest
from codling.bench.peer_result import PeerInput, PeerResult
from codling.errors import UserError
from codling.ondevice.compress_blocks import check_text
from codling.ondevice.compress_bundle import CalibrationConfig, calibration_batches

PEERS: dict[str, Callable[[PeerInput], Iterator[PeerResult]]] = {
    "llama.cpp": compress_llama,
    "nearest": compress_nearest,
    "coremltools": compress_coreml,
    "gptq": compress_gptq,
}


def peer_results(
    bundle: Path,
    documents: Sequence[str],
    scratch: Path,
    peers: Sequence[str] = tuple(PEERS),
    say: Callable[[str], None] = lambda line: None,
    *,
    llama_tools: Path | None = None,
    calibration: CalibrationConfig | None = None,
) -> Iterator[PeerResult]:
    """Compress a dense bundle in every way that the named peers have; one result at a time is in memory.

    `documents`: of the calibration text; as much of it is used as `codling compress` uses. `scratch`: an existing
    directory that holds the model a few times over.
    Errors: `UserError` for an unknown peer, what is no dense bundle, too little text, and programs or packages that a
    peer needs and that are missing: at once, before anything is computed.
    """
    if unknown := [name for name in peers if name not in PEERS]:
        raise UserError(f"unknown peer '{unknown[0]}' (known: {', '.join(PEERS)})")
    opened = load_bundle(bundle, NO_ADAPTER)
    if is_palettized(bundle):
        raise UserError(f"{bundle}: is compressed already; compare on the bundle that it was made from")
    batches = calibration_batches(
        documents, opened.tokenizer, calibration or CalibrationConfig(), opened.model.config.context_length_tokens
    )
    check_text(batches)
    given = PeerInput(opened, batches, scratch, llama_tools, say)
    return chain.from_iterable([PEERS[name](given) for name in peers])
