"""llama.cpp's types of weights, each with an importance matrix of the calibration text, as its own programs make them.

The model goes to llama.cpp in float32, and what it makes comes back as dense weights, for our own model to run: only
the weights differ. That leaves out that llama.cpp rounds activations to 8 bits too, to its advantage. What a type does
with the embedding, and with rows that its blocks do not divide, is its own choice, and counted.

Source: https://github.com/ggml-org/llama.cpp, tools/imatrix/README.md and tools/quantize/README.md.
"""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from codling.artifact.gguf_file import export_gguf, gguf_package
from codling.bench.gguf_weights import read_gguf_weights
from codling.bench.peer_result import PeerInput, PeerResult, peer_result
from codling.errors import UserError

TYPES = ("Q4_K_M", "Q4_0", "IQ4_XS", "Q3_K_M", "IQ3_S", "Q3_K_S", "Q2_K")
IMATRIX, QUANTIZE = "llama-imatrix", "llama-quantize"
MIN_CHUNKS = 4
"""`llama-imatrix` wants two whole contexts of text, in tokens of its own count."""
SHOWN_LINES = 5


def compress_llama(given: PeerInput) -> Iterator[PeerResult]:
    """One result a type.

    Errors: `UserError` where the programs or the `gguf` package are missing, before anything is computed, and where a
    program fails.
    """
    gguf_package()
    return _results(given, find_tools(given.llama_tools))


def find_tools(directory: Path | None) -> dict[str, str]:
    """llama.cpp's programs by name, in a directory or on the PATH. Errors: `UserError` naming one that is not there."""
    found = {}
    for name in (IMATRIX, QUANTIZE):
        path = shutil.which(name, path=None if directory is None else str(directory))
        if path is None:
            place = "on the PATH" if directory is None else f"in {directory}"
            raise UserError(f"there is no {name} {place}; build it from llama.cpp and name its directory")
        found[name] = path
    return found


def _results(given: PeerInput, tools: Mapping[str, str]) -> Iterator[PeerResult]:
    dense, importance, small = (given.scratch / name for name in ("dense.gguf", "imatrix.gguf", "quantized.gguf"))
    for path in (dense, importance, small):
        path.unlink(missing_ok=True)
    export_gguf(given.bundle, dense, "f32")
    given.say("llama.cpp: importance matrix")
    text = given.scratch / "calibration.txt"
    text.write_text(calibration_text(given), encoding="utf-8")
    length_tokens = min(given.batches[0].tokens.shape[1], _num_tokens(given) // MIN_CHUNKS)
    _run(tools[IMATRIX], "-m", dense, "-f", text, "-o", importance, "-c", length_tokens, "--no-ppl", "-ngl", 0)
    for type_name in TYPES:
        given.say(f"llama.cpp: {type_name}")
        _run(tools[QUANTIZE], "--imatrix", importance, dense, small, type_name)
        stored = read_gguf_weights(small, given.bundle.model.config)
        yield peer_result(f"llama.cpp {type_name} + imatrix", stored)
        small.unlink()


def calibration_text(given: PeerInput) -> str:
    """The calibration rows as a text again: a line for each part of a document, with the target of its last token."""
    lines = []
    for batch in given.batches:
        for tokens, targets, segment_ids in zip(batch.tokens, batch.targets, batch.segment_ids, strict=True):
            for segment in range(1, segment_ids.max() + 1):
                inside = segment_ids == segment
                ids = [*tokens[inside].tolist(), int(targets[inside][-1])]
                lines.append(given.bundle.tokenizer.decode(ids) + "\n")
    return "".join(lines)


def _num_tokens(given: PeerInput) -> int:
    return sum(int((batch.segment_ids > 0).sum()) for batch in given.batches)


def _run(*command: object) -> None:
    """Run a program. Errors: `UserError` with its last words where it fails."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()[-SHOWN_LINES:]
        raise UserError("\n".join([f"{Path(str(command[0])).name} ended with status {done.returncode}:", *words]))
