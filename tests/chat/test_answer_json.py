import json
from typing import Any

from codling.chat.answer_json import answer_json
from codling.chat.open_jax import open_on_jax
from codling.chat.session import Session
from codling.model.generate import Sampling


def test_an_answer_as_json_is_plain(pair: Any) -> None:
    opened = open_on_jax(pair.device, None, Sampling(), 0)
    session = Session(opened.tokenizer, opened.decoder, max_new_tokens=3)
    text = "".join(session.ask("hi"))
    assert session.last_answer is not None
    values = answer_json(session.last_answer, session, opened.identity, text)
    assert json.loads(json.dumps(values)) == values
    assert values["model"] == opened.identity == f"{values['base']}+{values['adapter']}"
    assert values["adapter"] == "recovery"
    assert (values["proposed_tokens"], values["accepted_tokens"]) == (0, 0)
