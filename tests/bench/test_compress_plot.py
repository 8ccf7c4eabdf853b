from codling.bench.compress_plot import draw_compress_figures
from tests.bench.sample_figures import FIGURES


def test_the_picture_has_others_as_points_and_no_studies_of_parts() -> None:
    drawn = draw_compress_figures(FIGURES)
    assert drawn == draw_compress_figures(FIGURES)
    text = drawn.decode()
    assert "llama.cpp Q4_0" in text
    assert "codling, compressed" in text
    assert "no row scales" not in text
    assert "uncompressed" not in text
