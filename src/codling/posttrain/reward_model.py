"""The reward model: a language model that gives a reward instead of the next token (arXiv 2407.21075 section 4.2).

From the last layer at the last token of an answer: a linear head gives the reward r; four small networks grade the
answer for instruction following, verbosity, truthfulness and harmlessness, three grades each. The graders are a
regularizer, and answers are compared by r alone. Same as the report; the graders' width is ours.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from codling.data.loader import Batch
from codling.model.execution import PLAIN, Execution
from codling.model.transformer import Transformer
from codling.posttrain.gradings import ASPECTS, NUM_GRADES
from codling.train.objective import last_hidden


class Judgement(eqx.Module):
    """What the model makes of each row's answer."""

    rewards: Float[Array, " B"]
    grade_logits: Float[Array, "B 4 3"]


class RewardModel(eqx.Module):
    """A language model with five heads. `Q` is the graders' width."""

    backbone: Transformer
    reward: Float[Array, " D"]
    grader_hidden: Float[Array, "4 D Q"]
    grader_out: Float[Array, "4 Q 3"]

    def __call__(self, batch: Batch, ends: Int[Array, " B"], execution: Execution = PLAIN) -> Judgement:
        """Judge the answers that end at these places. Heads compute in float32."""
        hidden = last_hidden(self.backbone, batch, execution)
        last = jnp.take_along_axis(hidden, ends[:, None, None], axis=1)[:, 0].astype(jnp.float32)
        graded = jax.nn.silu(jnp.einsum("bd,adq->baq", last, self.grader_hidden))
        return Judgement(last @ self.reward, jnp.einsum("baq,aqg->bag", graded, self.grader_out))


def init_reward_model(backbone: Transformer, key: PRNGKeyArray) -> RewardModel:
    """Heads beside a trained model. The reward head starts at zero: at first no answer is better than another."""
    model_dim, num_aspects = backbone.config.model_dim, len(ASPECTS)
    hidden = jax.random.normal(key, (num_aspects, model_dim, model_dim)) * model_dim**-0.5
    return RewardModel(backbone, jnp.zeros(model_dim), hidden, jnp.zeros((num_aspects, model_dim, NUM_GRADES)))
