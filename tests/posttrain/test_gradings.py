import dataclasses

from codling.posttrain.gradings import (
    ASPECTS,
    MISSING_GRADE,
    NUM_GRADES,
    Gradings,
    Harmlessness,
    Verbosity,
    grade_numbers,
)


def test_every_aspect_has_a_field_and_three_grades() -> None:
    assert len(dataclasses.fields(Gradings)) == len(ASPECTS)
    assert {len(aspect) for aspect in ASPECTS} == {NUM_GRADES}


def test_numbers_are_those_of_the_enumerations() -> None:
    gradings = Gradings(verbosity=Verbosity.TOO_LONG, harmlessness=Harmlessness.HARMFUL)
    assert grade_numbers(gradings) == (MISSING_GRADE, 2, MISSING_GRADE, 0)
    assert grade_numbers(Gradings()) == grade_numbers(None) == (MISSING_GRADE,) * 4
