"""A small finished build: manifests, records and answers with numbers that are easy to find again."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from codling.artifact.manifest import Manifest
from codling.artifact.stage import Artifact
from codling.report.page import ReportConfig
from codling.skills.example_files import write_examples
from codling.skills.skill import Example, Message, assistant, calls, user

SHAPE = {"context_length_tokens": 256}
NASTY = '<script>alert("x")</script>'
ADAPTED = ("tool_calls", "intents", "short_answers")
PROJECTIONS = (
    *("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"),
    *("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
)
INPUTS: dict[str, dict[str, str]] = {
    "conversations": {},
    "tokenizer": {"conversations": "conversations"},
    "tokens": {"tokenizer": "tokenizer", "conversations": "conversations"},
    "server_core": {"tokens": "tokens"},
    "device_parent_core": {"tokens": "tokens"},
    "device_prune": {"tokens": "tokens", "parent": "device_parent_core"},
    "device_distill": {"tokens": "tokens", "model": "device_prune", "teacher": "server_core"},
    "device_from_scratch": {"tokens": "tokens"},
    "device_from_scratch_continued": {"tokens": "tokens", "model": "device_from_scratch"},
    "server_continued": {"tokens": "tokens", "model": "server_core"},
    "server_long_context": {"tokens": "tokens", "model": "server_continued"},
    "server_sft": {"tokens": "tokens", "model": "server_long_context"},
    "device_continued": {"tokens": "tokens", "model": "device_distill"},
    "device_long_context": {"tokens": "tokens", "model": "device_continued"},
    "device_sft": {"tokens": "tokens", "model": "device_long_context"},
    "device_compress": {"tokens": "tokens", "model": "device_sft"},
    "device_recover": {"tokens": "tokens", "model": "device_compress", "teacher": "device_sft"},
    **{f"device_adapt_{name}": {"tokens": "tokens", "model": "device_recover"} for name in ADAPTED},
    "server": {"model": "server_sft", "tokenizer": "tokenizer"},
    "device": {"model": "device_recover", "tokenizer": "tokenizer"}
    | {f"adapter_{name}": f"device_adapt_{name}" for name in ADAPTED},
    "measure": {"tokens": "tokens", "server": "server", "device": "device", "conversations": "conversations"},
}


class Answered(NamedTuple):
    """A held-out request, and what became of it."""

    category: str
    request: str
    expected: Message
    by_device: Message
    device_right: bool
    server_right: bool


CALL = calls("remind", {"what": "call mum"})
ANSWERED = (
    Answered("single", "Call mum at 5", CALL, CALL, True, True),
    Answered("single", "Feed the cat", calls("remind", {"what": "feed the cat"}), assistant(NASTY), False, True),
    Answered("no_tool", "Who is Nora?", assistant("I do not know."), assistant("Nora."), True, False),
    Answered("single", "Post it", calls("remind", {"what": "post it"}), calls("", {}), False, False),
)


def heldout(nll: float, skills: float | None = None) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "nll": nll,
        "bits_per_byte": nll / 2,
        "accuracy": nll / 10,
        "nll_by_kind": {"stories": nll, "tales": nll},
    }
    if skills is None:
        return figures
    figures["nll_by_kind"]["tool_calls"] = skills
    return {**figures, "nll_skills": skills}


def trained(before: float, after: float, *skills: float) -> dict[str, Any]:
    skills_before, skills_after = skills or (None, None)
    return {
        "num_tokens": 4000,
        "heldout_before": heldout(before, skills_before),
        "heldout_after": heldout(after, skills_after),
    }


def by_position(*values: float) -> dict[str, float]:
    return {f"{128 * i}-{128 * (i + 1)}": value for i, value in enumerate(values)}


def found_facts(*within_and_beyond: float) -> dict[str, Any]:
    """A grid of two lengths within the context of `SHAPE` and two beyond it, at two depths."""
    within, beyond = within_and_beyond
    one_fact = [[within, within], [within, within], [beyond, beyond], [beyond - 0.1, beyond + 0.1]]
    half = [[share / 2 for share in row] for row in one_fact]
    return {
        "lengths_tokens": [128, 256, 512, 1024],
        "depths": [0.0, 1.0],
        "num_documents": {"one_fact": 20, "several_facts": 20},
        "chance": 0.0625,
        "chance_among_told": {"one_fact": 1.0, "several_facts": 0.25},
        "choice": {"one_fact": one_fact, "several_facts": half},
        "exact": {"one_fact": half, "several_facts": half},
    }


def matrices(num_layers: int) -> dict[str, Any]:
    """2 bits for the FFN of every second layer, 4 for all else; each at 2 bits costs ten times as much as at 4."""
    found = {}
    for layer in range(num_layers):
        for projection in PROJECTIONS:
            width = 2 if layer % 2 and projection.startswith("mlp") else 4
            found[f"model.layers.{layer}.{projection}.weight"] = {
                "width_bits": width,
                "stored_bits_per_weight": width + 0.125,
                "nats_per_token": {"2": 0.01, "4": 0.001},
            }
    return found


def adapter_figures(recovered: float, adapted: float, won: int, lost: int) -> dict[str, Any]:
    same, other = ({"prompt": f"Prompt {word}", "expected": "Yes.", "recovered": "No.", "adapted": answer}
                   for word, answer in (("same", "No."), ("other", NASTY)))  # fmt: skip
    return {
        "bare": recovered - 0.01,
        "recovered": recovered,
        "adapted": adapted,
        "unit": "exact",
        "num_prompts": 200,
        "won": won,
        "lost": lost,
        "examples": [same, other],
    }


def metrics_of(stage: str) -> dict[str, Any]:
    lengthened = {
        "nll_by_position_before": by_position(4.0, 4.0, 5.0, 6.0),
        "nll_by_position_after": by_position(4.0, 4.0, 3.5, 3.3),
        "retrieval_before": found_facts(0.9, 0.2),
        "retrieval_after": found_facts(0.95, 0.8),
    }
    sizes = {"num_parameters": 2_000_000, "num_parameters_embedding": 400_000, "size_bytes": 8_000_000}
    table: dict[str, dict[str, Any]] = {
        "conversations": {"skills": {"tool_calls": {"baselines": {"never call": 0.25, "nearest": 0.5}}}},
        "tokenizer": {"vocab_size": 64, "bytes_per_token": 3.0},
        "tokens": {"num_tokens": {"stories": {"train": 10}}},
        "server_core": trained(8.111, 4.222),
        "device_parent_core": trained(8.1, 4.6),
        "device_prune": {
            "method": "soft_topk",
            "num_tokens": 4000,
            "heldout_before": heldout(4.6),
            "heldout_after": heldout(5.123),
            "heldout_chosen_units": heldout(5.456),
            "heldout_random_units": heldout(6.789),
            "num_parameters_before": 1000,
            "num_parameters_after": 750,
        },
        "device_distill": trained(5.123, 4.321),
        "device_from_scratch": trained(8.1, 4.999),
        "device_continued": trained(4.321, 4.111),
        "device_from_scratch_continued": trained(4.999, 4.099),
        "server_long_context": trained(4.0, 3.9) | lengthened,
        "device_long_context": trained(4.2, 4.1) | lengthened,
        "server_sft": trained(3.9, 3.95, 3.0, 0.5),
        "device_sft": trained(4.1, 4.2, 3.1, 0.6),
        "device_compress": {
            "bits_per_weight_projections": 4.25,
            "bits_per_weight_total": 5.31,
            "size_bytes": 597_375.0,
            "matrices": matrices(4),
        },
        "device_recover": {
            "num_tokens": 4000,
            "heldout": {
                "dense": heldout(4.2, 0.6),
                "palettized": heldout(4.4, 0.8),
                "adapter_start": heldout(4.3, 0.7),
                "recovered": heldout(4.25, 0.65),
            },
            "divergence": {"dense": 0.0, "palettized": 0.08, "adapter_start": 0.05, "recovered": 0.02},
            "share_won_back": 0.75,
            "num_adapter_parameters": 50_000,
            "trains_tables": True,
        },
        **{
            f"device_adapt_{name}": {
                "num_tokens": 4000,
                "nll_before": {name: 0.65},
                "nll_after": {name: 0.525},
                "num_adapter_parameters": 50_000,
            }
            for name in ADAPTED
        },
        "server": sizes | {"bits_per_weight_projections": 32.0, "bits_per_weight_total": 32.0},
        "device": {
            "num_parameters": 900_000,
            "num_parameters_embedding": 250_000,
            "num_parameters_adapter": 50_000,
            "size_bytes_adapter": 100_000,
            "bits_per_weight_projections": 4.25,
            "bits_per_weight_total": 5.31,
            "size_bytes": 597_375.0,
        },
        "measure": {
            **{side: {"heldout": heldout(value)} for side, value in (("server", 3.0), ("device", 3.4))},
            "swap_ms": dict.fromkeys(ADAPTED, 1.25),
        },
    }
    return table.get(stage, trained(4.3, 4.2))


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Artifact]:
    ids = {stage: f"{stage}-{number:012x}" for number, stage in enumerate(INPUTS)}
    artifacts = {}
    for number, (stage, roles) in enumerate(INPUTS.items()):
        path = tmp_path / stage
        path.mkdir()
        metrics = metrics_of(stage)
        if isinstance(metrics.get("num_tokens"), int):
            records = [{"step": step, "nll": 8.0 / step, "loss": 8.0 / step} for step in range(1, 5)]
            (path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        manifest = Manifest(
            schema_version=1,
            id=ids[stage],
            kind="model",
            stage=stage,
            stage_version=1,
            seed=7,
            config={"model": SHAPE} if stage in ("server_core", "device_parent_core") else {},
            inputs={role: ids[source] for role, source in roles.items()},
            metrics=metrics,
            files_sha256={},
            commit="abc123",
            libraries={"jax": "0.10.2"},
            hardware={"processor": "Test CPU", "cores": 2, "memory_gib": 8.0, "system": "Linux", "python": "3.11.7"},
            started=f"2026-01-01T00:00:{number:02d}+00:00",
            wall_time_s=10.0,
        )
        artifacts[stage] = Artifact(path, manifest)
    _write_answers(tmp_path)
    return artifacts


def _write_answers(folder: Path) -> None:
    examples = [Example((user(row.request), row.expected), (), "tool_calls", row.category) for row in ANSWERED]
    write_examples(folder / "conversations" / "heldout" / "tool_calls.jsonl", examples)
    right = {
        "server": [row.server_right for row in ANSWERED],
        "device": [row.device_right for row in ANSWERED],
        "device_without_adapter": [row.device_right for row in ANSWERED],
    }
    measured: dict[str, Any] = {
        model: {
            "skills": {"tool_calls": _skill_figures(is_right)},
            "stories": [{"beginning": "Once", "continuation": f" upon {model} {NASTY}"}],
        }
        for model, is_right in right.items()
    }
    measured["adapters"] = {
        "tool_calls": adapter_figures(0.61, 0.685, 20, 5),
        "intents": adapter_figures(0.5, 0.505, 6, 5),
        "short_answers": adapter_figures(0.4, 0.3, 2, 22),
    }
    (folder / "measure" / "measurements.json").write_text(json.dumps(measured), encoding="utf-8")


def drop_features(inputs: dict[str, Artifact]) -> None:
    """The sample as a recipe without features leaves it."""
    for name in ADAPTED:
        del inputs[f"device_adapt_{name}"]
        del inputs["device"].manifest.inputs[f"adapter_{name}"]
    file = inputs["measure"].path / "measurements.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | {"adapters": {}}), encoding="utf-8")


def _skill_figures(is_right: list[bool]) -> dict[str, Any]:
    by_category: dict[str, list[bool]] = {}
    for row, right in zip(ANSWERED, is_right, strict=True):
        by_category.setdefault(row.category, []).append(right)
    return {
        "exact": sum(is_right) / len(is_right),
        "num_examples": len(is_right),
        "by_category": {
            category: {"exact": sum(part) / len(part), "num_examples": len(part)}
            for category, part in by_category.items()
        },
        "answers": [
            {
                "exact": right,
                "answer": {
                    "text": row.by_device.get("content", ""),
                    "tool_calls": row.by_device.get("tool_calls", []),
                },
            }
            for row, right in zip(ANSWERED, is_right, strict=True)
        ],
    }


@pytest.fixture
def report_config() -> ReportConfig:
    return ReportConfig(recipe_name="sample", recipe={"name": "sample", "seed": 7, "server_core": {"rate": 0.003}})
