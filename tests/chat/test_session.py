import json
from typing import Any

import pytest

from codling.artifact.bundle import Bundle, load_bundle
from codling.chat.jax_decoder import JaxDecoder
from codling.chat.session import Session
from codling.errors import UserError
from codling.model.generate import Sampling
from codling.tokenizer.chat_template import encode_chat
from codling.tokenizer.special_tokens import END, TOOL_CALL

CALL = {"name": "add", "arguments": {"a": 1}}
GREEDY = Sampling()


@pytest.fixture(scope="module")
def bundle(pair: Any) -> Bundle:
    return load_bundle(pair.server)


def talk(bundle: Bundle, sampling: Sampling = GREEDY, seed: int = 0, **options: Any) -> Session:
    return Session(bundle.tokenizer, JaxDecoder(bundle.model, sampling, seed), **options)


def script(session: Session, monkeypatch: pytest.MonkeyPatch, *answers: list[int]) -> list[list[int]]:
    """Let the model say what is asked of it; returns the prompts that it will have been given."""
    prompts: list[list[int]] = []
    remaining = iter(answers)

    def run(prompt: list[int], max_new_tokens: int, stop_ids: tuple[int, ...]) -> Any:
        prompts.append(list(prompt))
        return (token for token in next(remaining)[:max_new_tokens])

    monkeypatch.setattr(session._decoder, "run", run)
    return prompts


def said(bundle: Bundle, text: str, *calls: dict[str, Any]) -> list[int]:
    ids = bundle.tokenizer.encode(text)
    for call in calls:
        ids += [TOOL_CALL.id, *bundle.tokenizer.encode(json.dumps(call, separators=(",", ":")))]
    return [*ids, END.id]


def test_the_pieces_are_the_decoded_tokens_of_the_answer(bundle: Bundle) -> None:
    prompt = encode_chat(bundle.tokenizer, [{"role": "user", "content": "hi"}], add_generation_prompt=True).ids
    ids = list(JaxDecoder(bundle.model, GREEDY, 0).run(prompt, 20, bundle.tokenizer.stop_ids))
    session = talk(bundle, max_new_tokens=20)
    text = "".join(session.ask("hi"))
    answer = session.last_answer
    assert answer is not None
    assert text == answer.turn.content
    assert text.startswith(bundle.tokenizer.decode(ids[:3], show_special=True))
    assert (answer.prompt_tokens, answer.answer_tokens) == (len(prompt), len(ids))
    assert session.context_used_tokens == len(prompt) + len(ids)


def test_a_second_turn_answers_as_if_everything_were_run_anew(bundle: Bundle) -> None:
    kept = talk(bundle, max_new_tokens=8)
    first = "".join(kept.ask("one"))
    second = "".join(kept.ask("two"))
    messages = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": first},
        {"role": "user", "content": "two"},
    ]
    prompt = encode_chat(bundle.tokenizer, messages, add_generation_prompt=True).ids
    fresh = list(JaxDecoder(bundle.model, GREEDY, 0).run(prompt, 8, bundle.tokenizer.stop_ids))
    assert kept.last_answer is not None
    assert (kept.last_answer.prompt_tokens, kept.last_answer.answer_tokens) == (len(prompt), len(fresh))
    assert second.startswith(bundle.tokenizer.decode(fresh[:2], show_special=True))


def test_the_seed_decides_what_is_drawn(bundle: Bundle) -> None:
    def draw(seed: int) -> str:
        session = talk(bundle, sampling=Sampling(temperature=1.0), seed=seed, max_new_tokens=10)
        return "".join(session.ask("hi"))

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_reset_forgets_all_but_the_system_message(bundle: Bundle) -> None:
    session = talk(bundle, system="Be brief.", max_new_tokens=6)
    first = "".join(session.ask("hi"))
    "".join(session.ask("more"))
    session.reset()
    assert session.context_used_tokens == 0
    assert "".join(session.ask("hi")) == first


def test_tools_and_system_are_in_the_prompt(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    session = talk(bundle, system="S", tools=[{"name": "add"}])
    (prompts,) = [script(session, monkeypatch, said(bundle, "ok"))]
    list(session.ask("q"))
    assert bundle.tokenizer.decode(prompts[0], show_special=True) == (
        '<s><|system|>S<|tools|>[{"name":"add"}]<|end|><|user|>q<|end|><|assistant|>'
    )


def test_a_call_is_no_text_and_its_result_comes_after_it(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    session = talk(bundle)
    prompts = script(session, monkeypatch, said(bundle, "Sure. ", CALL), said(bundle, "Done."), said(bundle, "Bye."))
    assert "".join(session.ask("q")) == "Sure. "
    assert session.last_answer is not None
    assert session.last_answer.turn.tool_calls[0].name == "add"
    assert session.pending_calls == 1
    assert "".join(session.add_tool_results(["2"])) == "Done."
    assert session.pending_calls == 0
    assert "".join(session.ask("r")) == "Bye."
    assert bundle.tokenizer.decode(prompts[2], show_special=True).endswith(
        '<|tool_call|>{"name":"add","arguments":{"a":1}}<|end|><|tool|>2<|end|><|assistant|>Done.<|end|>'
        "<|user|>r<|end|><|assistant|>"
    )


def test_a_call_may_stay_unanswered(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    session = talk(bundle)
    script(session, monkeypatch, said(bundle, "", CALL), said(bundle, "Fine."))
    list(session.ask("q"))
    assert "".join(session.ask("never mind")) == "Fine."


def test_a_call_that_cannot_be_read_is_reported_and_the_talk_goes_on(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = talk(bundle)
    broken = [TOOL_CALL.id, *bundle.tokenizer.encode("{oops"), END.id]
    script(session, monkeypatch, broken, said(bundle, "Fine."))
    assert "".join(session.ask("q")) == ""
    assert session.last_answer is not None
    assert session.last_answer.turn.malformed_calls[0].text == "{oops"
    assert session.pending_calls == 0
    assert "".join(session.ask("r")) == "Fine."


@pytest.mark.parametrize(
    ("max_new_tokens", "answer", "reason"), [(9, "Yes.", "stop"), (2, "Certainly not today.", "length")]
)
def test_it_says_why_an_answer_ended(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, max_new_tokens: int, answer: str, reason: str
) -> None:
    session = talk(bundle, max_new_tokens=max_new_tokens)
    script(session, monkeypatch, said(bundle, answer))
    list(session.ask("q"))
    assert session.last_answer is not None
    assert session.last_answer.finish_reason == reason


def test_an_answer_that_meets_the_end_of_the_context_says_so(bundle: Bundle) -> None:
    session = talk(bundle)
    list(session.continue_text("a" * 60))
    assert session.last_answer is not None
    assert session.last_answer.finish_reason == "context"
    assert session.context_used_tokens == session.context_length_tokens == 96


def test_a_reader_may_stop_in_the_middle(bundle: Bundle) -> None:
    session = talk(bundle)
    pieces = session.ask("hi")
    heard = next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert session.last_answer is not None
    assert session.last_answer.finish_reason == "interrupted"
    assert session.last_answer.turn.content.startswith(heard)
    assert next(session.ask("again"))


def test_a_stream_that_nobody_reads_changes_nothing(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    session = talk(bundle)
    prompts = script(session, monkeypatch, said(bundle, "ok"))
    session.ask("never read")
    list(session.ask("read"))
    assert bundle.tokenizer.decode(prompts[0]) == "read"


def test_plain_text_is_no_part_of_the_conversation(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    session = talk(bundle)
    prompts = script(session, monkeypatch, said(bundle, " time"), said(bundle, "ok"))
    list(session.continue_text("Once upon a"))
    list(session.ask("q"))
    assert bundle.tokenizer.decode(prompts[0], show_special=True) == "<s>Once upon a"
    assert bundle.tokenizer.decode(prompts[1], show_special=True) == "<s><|user|>q<|end|><|assistant|>"


def test_what_does_not_fit_is_refused_before_anything_runs_and_the_talk_goes_on(bundle: Bundle) -> None:
    session = talk(bundle, max_new_tokens=4)
    list(session.ask("hi"))
    used = session.context_used_tokens
    with pytest.raises(UserError, match=r"the prompt has \d+ tokens, the context of this model holds 96"):
        session.ask("x " * 200)
    with pytest.raises(UserError, match="holds 96"):
        session.continue_text("x " * 200)
    assert session.context_used_tokens == used
    assert "".join(session.ask("ok?"))


def test_results_without_calls_are_refused(bundle: Bundle) -> None:
    session = talk(bundle)
    with pytest.raises(UserError, match="1 tool results, but the last answer waits for 0"):
        session.add_tool_results(["2"])


def test_an_imported_bundle_writes_on_and_stops_at_its_own_ends(foreign: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = load_bundle(foreign.bundle)
    session = talk(opened)
    # A token of theirs that has the number of our tool call is text like any other.
    ids = [*opened.tokenizer.encode(" time"), TOOL_CALL.id, opened.tokenizer.stop_ids[0]]
    prompts = script(session, monkeypatch, ids)
    text = "".join(session.continue_text("Once upon a"))
    assert opened.tokenizer.decode(prompts[0]) == "Once upon a"
    assert text == opened.tokenizer.decode(ids) != " time"
    assert session.last_answer is not None
    assert session.last_answer.turn.content == text
    assert session.last_answer.turn.tool_calls == ()
    assert session.last_answer.finish_reason == "stop"


def test_an_imported_bundle_does_not_chat(foreign: Any) -> None:
    session = talk(load_bundle(foreign.bundle))
    for refused in (session.check_chat, lambda: session.ask("hi")):
        with pytest.raises(UserError, match="imported with its own tokenizer"):
            refused()


def test_our_own_bundles_chat(bundle: Bundle) -> None:
    talk(bundle).check_chat()
