from codling.report.svg import COLORS, drawing


def draw(name: str) -> str:
    with drawing(name, "A line & more") as figure:
        figure.axes.plot([0, 1], [0, 1], color=COLORS["server"], label="server")
        figure.axes.legend()
    return str(figure.svg)


def test_the_same_drawing_gives_the_same_bytes() -> None:
    assert draw("loss") == draw("loss")


def test_a_drawing_belongs_to_the_page() -> None:
    svg = draw("loss")
    assert svg.startswith('<svg viewBox="0 0 360')
    assert "A line &amp; more" in svg
    assert "var(--server)" in svg
    assert COLORS["server"] not in svg
    assert "font-family" not in svg


def test_two_drawings_share_no_id() -> None:
    def ids(svg: str) -> set[str]:
        return {part.split('"')[0] for part in svg.split('id="')[1:]}

    assert ids(draw("loss"))
    assert not ids(draw("loss")) & ids(draw("rate"))
