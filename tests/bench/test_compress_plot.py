from codling.bench.compress_plot import draw_compress_figures
from tests.bench.sample_figures import FIGURES, figure


def test_the_picture_has_others_by_number_and_no_studies_of_parts() -> None:
    drawn = draw_compress_figures(FIGURES)
    assert drawn == draw_compress_figures(FIGURES)
    text = drawn.decode()
    assert "llama.cpp Q4_0" in text
    assert "codling, compressed" in text
    assert "no row scales" not in text
    assert "uncompressed" not in text


def test_others_whose_names_have_commas_are_drawn() -> None:
    drawn = draw_compress_figures([*FIGURES, figure("GPTQ, 4 bits, groups of 64", 4.3, 0.002)])
    assert "GPTQ, 4 bits, groups of 64" in drawn.decode()
