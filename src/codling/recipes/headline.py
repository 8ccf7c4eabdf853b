"""What a build says of a stage that ended: one line's worth of its figures."""

from collections.abc import Callable, Mapping
from typing import Any

from codling.artifact.manifest import Manifest

Metrics = Mapping[str, Any]


def headline(manifest: Manifest) -> str:
    """The line of a stage; empty for one whose figures say nothing in a line."""
    metrics = manifest.metrics
    return next((describe(metrics) for key, describe in _BY_FIGURE.items() if key in metrics), "")


def _heldout(metrics: Metrics) -> str:
    return f"held-out loss {metrics['heldout_before']['nll']:.3f} -> {metrics['heldout_after']['nll']:.3f}"


def _won_back(metrics: Metrics) -> str:
    return f"won back {metrics['share_won_back']:.0%} of what palettization lost"


def _adapted(metrics: Metrics) -> str:
    before, after = (next(iter(metrics[name].values())) for name in ("nll_before", "nll_after"))
    return f"held-out loss of its skill {before:.3f} -> {after:.3f}"


def _bits(metrics: Metrics) -> str:
    projections, total = metrics["bits_per_weight_projections"], metrics["bits_per_weight_total"]
    return f"{projections:.2f} bits a weight, {total:.2f} with the embedding"


def _tokenizer(metrics: Metrics) -> str:
    return f"{metrics['vocab_size']} tokens, {metrics['bytes_per_token']:.2f} bytes a token"


def _prompts(metrics: Metrics) -> str:
    return f"{metrics['num_train']:,} prompts to learn from, {metrics['num_validation']:,} to elect by"


def _sampled_pairs(metrics: Metrics) -> str:
    return f"{metrics['num_pairs']:,} pairs of answers to {metrics['num_prompts']:,} prompts"


def _labels(metrics: Metrics) -> str:
    return f"{metrics['num_labeled']:,} of {metrics['num_pairs']:,} pairs labeled"


def _rewards(metrics: Metrics) -> str:
    if metrics["after"] is None:
        return f"trained on {metrics['num_train_pairs']:,} pairs; none is held out"
    return f"accuracy {metrics['after']['accuracy']:.2f} on {metrics['after']['num_pairs']:,} held-out pairs"


def _best_answers(metrics: Metrics) -> str:
    return f"{metrics['num_demonstrations']:,} of {metrics['num_prompts']:,} prompts answered well"


def _online(metrics: Metrics) -> str:
    return f"reward {metrics['first']['reward']:.2f} -> {metrics['last']['reward']:.2f}"


def _election(metrics: Metrics) -> str:
    return f"best {metrics['best']}, {metrics['scores'][metrics['best']]:.2f}"


def _aligned(metrics: Metrics) -> str:
    return f"{metrics['candidate']}, {metrics['score']:.2f}"


_BY_FIGURE: Mapping[str, Callable[[Metrics], str]] = {
    "heldout_before": _heldout,
    "share_won_back": _won_back,
    "nll_before": _adapted,
    "bits_per_weight_projections": _bits,
    "bytes_per_token": _tokenizer,
    "num_validation": _prompts,
    "num_by_member": _sampled_pairs,
    "num_labeled": _labels,
    "num_heldout_pairs": _rewards,
    "wins": _best_answers,
    "first": _online,
    "best": _election,
    "candidate": _aligned,
}
"""A figure that one kind of stage alone has -> what is said of it; the first that is there counts."""
