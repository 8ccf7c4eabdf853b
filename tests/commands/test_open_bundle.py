from pathlib import Path
from typing import Any

import pytest

from codling.commands.open_bundle import ENGINE_ONLY, Backend, Drawing, KvType, Running, open_bundle
from codling.errors import UserError

GIVEN: dict[str, Any] = {
    "top_k": 3,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
    "threads": 2,
    "kv": KvType.F32,
    "rounding": False,
    "draft": Path("small"),
    "lookup": True,
}


@pytest.mark.parametrize("name", ENGINE_ONLY)
def test_what_jax_does_not_have_is_refused_and_not_left_out(pair: Any, name: str) -> None:
    drawing, running = Drawing(), Running(Backend.JAX)
    if name in Drawing._fields:
        drawing = drawing._replace(**{name: GIVEN[name]})
    else:
        running = running._replace(**{name: GIVEN[name]})
    option = {"rounding": "no-rounding"}.get(name, name.replace("_", "-"))
    with pytest.raises(UserError, match=f"--{option} is for the engine"):
        open_bundle(pair.device, None, drawing, running)


def test_two_sources_of_proposals_are_refused(pair: Any) -> None:
    with pytest.raises(UserError, match="--draft and --lookup"):
        open_bundle(pair.device, None, Drawing(), Running(draft=pair.device, lookup=True))


@pytest.mark.parametrize("backend", Backend)
def test_no_mass_at_all_is_refused_alike(pair: Any, backend: Backend) -> None:
    with pytest.raises(UserError, match="--top-p 0 leaves no token"):
        open_bundle(pair.device, None, Drawing(temperature=1.0, top_p=0.0), Running(backend))
