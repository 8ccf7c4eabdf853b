"""Several processes, one build: JAX's own multi-controller runtime, with the cluster detection that it has."""

from typing import NamedTuple

import jax

from codling.errors import UserError


class Cluster(NamedTuple):
    """Where this process stands; all none: as the scheduler says (Slurm, GKE, Open MPI, Cloud TPU)."""

    coordinator: str | None = None
    """HOST:PORT of process 0."""
    num_processes: int | None = None
    process_id: int | None = None


def join(cluster: Cluster) -> None:
    """Become one of the build's processes. To be called once, before anything else uses JAX.

    Errors: `UserError` where the cluster is described in part, wrongly, or by nobody, or cannot be reached.
    """
    given = [value for value in cluster if value is not None]
    if given and len(given) < len(cluster):
        raise UserError("cluster: give --coordinator, --num-processes and --process-id together, or --cluster alone")
    if cluster.num_processes is not None and cluster.process_id is not None:
        if not 0 <= cluster.process_id < cluster.num_processes:
            raise UserError(
                f"cluster: --process-id is {cluster.process_id}; with --num-processes {cluster.num_processes} it must "
                f"be 0 to {cluster.num_processes - 1}"
            )
        host, _, port = str(cluster.coordinator).rpartition(":")
        if not host or not port.isdigit():
            raise UserError(f"cluster: --coordinator is '{cluster.coordinator}'; write HOST:PORT of process 0")
    try:
        jax.distributed.initialize(cluster.coordinator, cluster.num_processes, cluster.process_id)
    except (ValueError, RuntimeError) as error:
        first_line = str(error).splitlines()[0]
        raise UserError(
            f"cluster: {first_line} (or name it by --coordinator, --num-processes, --process-id)"
        ) from error
