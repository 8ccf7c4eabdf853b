from codling.tokenizer.special_tokens import SPECIAL_TOKENS


def test_the_place_in_the_table_is_the_id() -> None:
    assert [token.id for token in SPECIAL_TOKENS] == list(range(len(SPECIAL_TOKENS)))


def test_ids_never_move() -> None:
    # Checkpoints in the field hold these; a new token takes a reserved place.
    names = "<unk> <s> </s> <pad> <|system|> <|user|> <|assistant|> <|tool|> <|tools|> <|tool_call|> <|end|>"
    reserved = [f"<|reserved_{index}|>" for index in range(8)]
    assert [token.text for token in SPECIAL_TOKENS] == [*names.split(" "), *reserved]


def test_no_name_can_form_across_two_others() -> None:
    # The chat template's guard against injection relies on it: "<" only begins a name, ">" only ends it.
    for token in SPECIAL_TOKENS:
        assert token.text.rfind("<") == 0
        assert token.text.find(">") == len(token.text) - 1
