"""mu-P in its simple form: wider models update their hidden layers less, so that one learning rate fits all widths.

Source: AXLearn's `scale_by_mup_simple` at a base width of 768; the report (arXiv 2407.21075 section 2.3.1) names
"mu-P (simple)". The theory (arXiv 2203.03466, table 8) scales the update of hidden matrices by 1 / width and leaves
embeddings and norms alone; the simple form keeps the initialization and the multipliers of the standard one.
"""

import jax
from jaxtyping import PyTree

from codling.model.linear import Linear
from codling.model.transformer import Transformer

BASE_MODEL_DIM = 768


def update_scales(params: PyTree, base_model_dim: int | None) -> PyTree:
    """The factor of every parameter's update: min(1, base / model_dim) in linear layers of a model, 1 elsewhere.

    Narrower models than the base are not sped up, as in AXLearn. No base: 1 everywhere.
    """

    def of_model(node: PyTree) -> PyTree:
        if base_model_dim is None or not isinstance(node, Transformer):
            return jax.tree.map(lambda _: 1.0, node)
        scale = min(1.0, base_model_dim / node.config.model_dim)
        return jax.tree.map(
            lambda part: jax.tree.map(lambda _: scale if isinstance(part, Linear) else 1.0, part),
            node,
            is_leaf=lambda part: isinstance(part, Linear),
        )

    return jax.tree.map(of_model, params, is_leaf=lambda node: isinstance(node, Transformer))
