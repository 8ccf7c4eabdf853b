import random

from codling.skills import small_talk
from codling.skills.grammar import expansions, share


def test_splits_share_no_words_of_their_own() -> None:
    said: dict[str, set[str]] = {}
    for split in ("train", "heldout"):
        rng = random.Random(0)
        said[split] = {small_talk.exchange(split, rng)[0].casefold().rstrip(".!?") for _ in range(2000)}
    assert len(said["train"]) > 300
    assert not said["train"] & said["heldout"]
    assert not [text for text in said["train"] if "  " in text or text != text.strip()]


def test_every_fixed_pattern_has_forms_for_both_splits() -> None:
    for pattern, _ in small_talk.FIXED:
        assert share(expansions(pattern), "heldout")


def test_answers_are_short_and_finished() -> None:
    for pattern, answer in (*small_talk.FIXED, *small_talk.SLOTTED):
        assert expansions(pattern)
        assert len(answer) <= 50
        assert answer.endswith((".", "!", "?"))
        assert "{" not in answer


def test_thanks_are_answered() -> None:
    rng = random.Random(0)
    assert {small_talk.thanks("train", rng)[1] for _ in range(50)} == {"You are welcome."}
