import pytest

from codling.errors import UserError
from codling.scale.workload import workload_of_size


def test_sizes_stand_for_the_reports_core_stage() -> None:
    device, server = workload_of_size("device_3b"), workload_of_size("server_70b")
    assert device.tokens_per_step == 8 * 2**20
    assert server.tokens_per_step == 4096 * 4096
    assert device.num_tokens == server.num_tokens == 6.3e12


def test_an_unknown_size_is_named() -> None:
    with pytest.raises(UserError, match="unknown model size 'server_80b'"):
        workload_of_size("server_80b")
