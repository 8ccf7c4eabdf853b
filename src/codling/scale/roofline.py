"""How long a training step takes at least: operations, bytes and traffic, each over what the machine can do.

    step = operations / (peak * EFFICIENCY) + memory bytes / memory speed + bytes sent / link speeds

The three terms are added: nothing is assumed to overlap. That is on the careful side, most of all for traffic, which
XLA starts early where it can; EFFICIENCY is chosen with that in mind, once, for all machines, models and sizes.
"""

from collections.abc import Sequence
from typing import NamedTuple

from codling.model.config import ModelConfig
from codling.model.count import count_parameters, training_flops_per_token
from codling.model.execution import Remat
from codling.scale.collectives import Collective
from codling.scale.machine import Machine
from codling.scale.topology import coordinates_of, links_of_group
from codling.scale.workload import Workload

EFFICIENCY = 0.55
"""Share of the peak that matrix products reach. Between what two published runs need (bench/results/LOG.md): AXLearn's
3B on v5p, and the 52% of peak that the report gives for its server on v4."""

OPTIMIZER_BYTES = 44
"""Moved for each parameter of a chip: itself and two moments read and written (24), its gradient written, read for the
norm and for the update (12), gradient and new moment read again after the mean square of the update is known (8)."""
WEIGHT_BYTES = 12
"""Moved for each weight that a chip multiplies with, in bfloat16: written as gathered and read, forward and backward
(8), and its gradient written and read (4)."""
LOGIT_BYTES = 18
"""Moved for each logit: float32 written, read for the normalizer and for the loss (12), its gradient in bfloat16
written and read by two products (6)."""
HALF = 2
"""Bytes of a bfloat16."""


class Roofline(NamedTuple):
    """The three terms of a step, in seconds."""

    compute_s: float
    memory_s: float
    fast_network_s: float
    """Links within a slice."""
    slow_network_s: float
    """Between slices."""

    @property
    def step_s(self) -> float:
        """The whole step."""
        return sum(self)

    @property
    def network_s(self) -> float:
        """Both networks."""
        return self.fast_network_s + self.slow_network_s

    @property
    def overlapped_s(self) -> float:
        """The largest term: what a step would take if all of them ran beside each other."""
        return max(self.compute_s, self.memory_s, self.network_s)

    @property
    def binding(self) -> str:
        """The largest term."""
        terms = {"compute": self.compute_s, "memory": self.memory_s, "network": self.network_s}
        return max(terms, key=lambda name: terms[name])


def roofline(
    workload: Workload,
    machine: Machine,
    remat: Remat,
    memory_bytes: float,
    collectives: Sequence[Collective],
) -> Roofline:
    """The terms of one step; memory_bytes are moved by one chip."""
    chip, coordinates = machine.chip, coordinates_of(machine)
    flops = (model_flops(workload) + recomputed_flops(workload, remat)) / machine.num_chips
    fast = sum(
        one.fast_bytes / (chip.link_bytes_per_s * links_of_group(machine, [coordinates[place] for place in one.group]))
        for one in collectives
    )
    return Roofline(
        flops / (chip.peak_flops_per_s * EFFICIENCY),
        memory_bytes / chip.memory_bytes_per_s,
        fast,
        sum(one.slow_bytes for one in collectives) / chip.network_bytes_per_s,
    )


def model_flops(workload: Workload) -> float:
    """Of one step, without anything done twice: what utilization counts."""
    per_token = training_flops_per_token(workload.model, workload.sequence_length_tokens)
    return float(per_token) * workload.tokens_per_step


def recomputed_flops(workload: Workload, remat: Remat) -> float:
    """Done twice for the sake of memory. The head never is: its gradient is taken where its logits are."""
    model = workload.model
    query_dim = model.num_query_heads * model.head_dim
    attention = 2 * 2 * model.num_layers * query_dim * workload.sequence_length_tokens / 2
    layers = 2 * count_parameters(model).non_embedding
    per_token = {Remat.NOTHING: 0.0, Remat.ATTENTION: attention, Remat.LAYERS: layers + attention}[remat]
    return per_token * workload.tokens_per_step


def memory_traffic_bytes(
    workload: Workload, num_chips: int, num_parameters_held: float, num_weights_used: float, remat: Remat
) -> float:
    """Bytes that one chip moves between memory and processor in a step.

    num_parameters_held: with their moments, after sharding; num_weights_used: gathered, after tensor parallelism.
    """
    tokens = workload.tokens_per_step / num_chips
    model = workload.model
    passes = {Remat.NOTHING: 3.0, Remat.ATTENTION: 3.5, Remat.LAYERS: 4.0}[remat]
    activations = tokens * model.num_layers * passes * HALF * _moved_values(model)
    logits = tokens * model.vocab_size * LOGIT_BYTES
    return OPTIMIZER_BYTES * num_parameters_held + WEIGHT_BYTES * num_weights_used + activations + logits


def _moved_values(model: ModelConfig) -> int:
    """Values read and written for one token in one layer, forward; the backward pass moves twice as many.

    Of width D: two norms 4, inputs of two groups of products 2, outputs of two products 2, two sums 4. Of queries, and
    of keys and values: written, normalized and rotated (2), read by attention, attended values written and read. Of FFN
    units: gate and up written and read 4, their product written and read 2.
    """
    query_dim, kv_dim = model.num_query_heads * model.head_dim, model.num_kv_heads * model.head_dim
    return 12 * model.model_dim + 6 * (query_dim + kv_dim + model.ffn_dim)
