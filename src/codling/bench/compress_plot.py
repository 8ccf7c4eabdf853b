"""The picture of `codling bench compress`: divergence against bits a weight, ours as lines, others as numbers."""

import io
from collections.abc import Sequence

from codling.bench.compress import CompressFigure

OURS, RECOVERED, STUDY = "codling ", " + recovery", ","
SIZE_INCHES = (9.5, 5.0)


def draw_compress_figures(figures: Sequence[CompressFigure]) -> bytes:
    """An SVG. The uncompressed model has no place on it, and what only studies parts of ours is left out."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    shown = [figure for figure in figures if figure.divergence.mean_nats > 0 and not _is_study(figure.name)]
    with pyplot.rc_context({"svg.hashsalt": "codling", "svg.fonttype": "none", "font.size": 9}):
        plot, axes = pyplot.subplots(figsize=SIZE_INCHES)
        for label, is_recovered in (("codling, compressed", False), ("codling, recovered (adapter not counted)", True)):
            ours = sorted(
                (figure.bits_per_weight_projections, figure.divergence.mean_nats)
                for figure in shown
                if figure.name.startswith(OURS) and figure.name.endswith(RECOVERED) is is_recovered
            )
            axes.plot(*zip(*ours, strict=True), marker="o", linewidth=2, label=label)
        peers = [figure for figure in shown if not figure.name.startswith(OURS)]
        # Numbers, as names would cover each other.
        for number, figure in enumerate(sorted(peers, key=lambda one: one.bits_per_weight_projections), start=1):
            place = (figure.bits_per_weight_projections, figure.divergence.mean_nats)
            (line,) = axes.plot(*place, marker=f"${number}$", color="0.25", linestyle="none", label=figure.name)
            line.set(markersize=3.5 * len(str(number)) + 3.5, markeredgewidth=0.3)
        axes.set(xlabel="stored bits a weight of the projections", ylabel="divergence, nats a token", yscale="log")
        axes.grid(alpha=0.3, which="both")
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False)
        plot.tight_layout()
        file = io.BytesIO()
        plot.savefig(file, format="svg", metadata={"Date": None})
        pyplot.close(plot)
    return file.getvalue()


def _is_study(name: str) -> bool:
    """Of a part of ours; others' names may have commas as well."""
    return name.startswith(OURS) and STUDY in name
