import pytest

from codling.errors import UserError
from codling.scale.cluster import Cluster, join


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        (Cluster("host:1"), "give --coordinator, --num-processes and --process-id together"),
        (Cluster(None, 2, 0), "give --coordinator, --num-processes and --process-id together"),
        (Cluster("host:1", 2, 2), "--process-id is 2; with --num-processes 2 it must be 0 to 1"),
        (Cluster("host", 2, 0), "--coordinator is 'host'; write HOST:PORT"),
        (Cluster("host:port", 2, 0), "--coordinator is 'host:port'; write HOST:PORT"),
    ],
)
def test_a_cluster_described_wrongly_is_refused_before_anything_starts(cluster: Cluster, message: str) -> None:
    with pytest.raises(UserError, match=message):
        join(cluster)
