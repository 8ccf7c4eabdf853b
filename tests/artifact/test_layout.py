from pathlib import Path
from typing import Any

import pytest

from codling.artifact.layout import adapter_names, find_adapter, read_json
from codling.errors import UserError


def test_adapters_are_found_by_name_and_by_directory(pair: Any) -> None:
    own = pair.device / "adapters" / "recovery"
    assert adapter_names(pair.device) == ["recovery"]
    assert adapter_names(pair.server) == []
    assert find_adapter(pair.device, None) == find_adapter(pair.device, "recovery") == own
    assert find_adapter(pair.server, None) is None
    assert find_adapter(pair.device, "none") is None
    assert find_adapter(pair.server, str(own)) == own
    with pytest.raises(UserError, match=r"no adapter 'other' .it has: recovery"):
        find_adapter(pair.device, "other")


@pytest.mark.parametrize("content", [b"[]", b"{", b"\xff"])
def test_json_that_is_no_object_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=r"config\.json: not"):
        read_json(tmp_path / "config.json")
