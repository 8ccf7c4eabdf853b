"""A recipe: every stage's configuration in one frozen value, and the graph that the stages form.

conversations -> tokenizer -> tokens
server:  core -> continued -> long_context -> sft -> rounds of the committee -> bundle
device:  parent core -> prune -> distill (teacher: server core) -> continued -> long_context -> sft
         -> rounds of the committee (teachers: the server's) -> compress -> recover -> adapt, a feature each -> bundle
control: the device's shape from random weights on the tokens of `distill`, then continued like it
both:    measure -> report
"""

from dataclasses import replace

from codling.artifact.stage import Stage
from codling.committee.round import AlignmentConfig, alignment_stages, finished_stage
from codling.config import config, to_dict
from codling.data.conversations import ConversationsConfig, run_conversations
from codling.data.long_questions import QuestionsConfig
from codling.data.mixture import MixtureWeights
from codling.data.prepare import TokenizerStageConfig, TokensStageConfig, run_tokenizer, run_tokens
from codling.data.sources import CorpusConfig, fingerprint, load_corpus
from codling.evaluate.measure import MeasureConfig, run_measure
from codling.model.config import ModelConfig
from codling.ondevice.adapt import AdaptConfig, run_adapt
from codling.ondevice.compress_stage import CompressStageConfig, run_compress
from codling.ondevice.package import BundleConfig, run_device_bundle, run_server_bundle
from codling.ondevice.recover import RecoverConfig, run_recover
from codling.posttrain.rejection_sampling import BEST_ANSWERS
from codling.posttrain.sft import SftConfig, run_sft
from codling.pretrain.continued import run_continued
from codling.pretrain.core import CoreConfig, run_core
from codling.pretrain.distill import DistillConfig, run_distill
from codling.pretrain.long_context import LongContextConfig, run_long_context
from codling.pretrain.prune import PruneConfig, run_prune
from codling.pretrain.text_stage import TextStageConfig
from codling.report.page import ReportConfig, run_report
from codling.tokenizer.train import TokenizerConfig


@config
class Recipe:
    """Everything that decides what comes out."""

    name: str
    seed: int
    """Every random draw follows from it."""
    corpus: CorpusConfig
    tokenizer: TokenizerConfig
    conversations: ConversationsConfig
    questions: dict[str, QuestionsConfig]
    """Kind -> long question answering made from the corpus, for the mixtures of pre-training."""
    server_model: ModelConfig
    device_parent_model: ModelConfig
    """Same width and depth as the device model, with more FFN units to prune from."""
    server_core: TextStageConfig
    device_parent_core: TextStageConfig
    device_prune: PruneConfig
    device_distill: DistillConfig
    server_continued: TextStageConfig
    device_continued: TextStageConfig
    server_long_context: LongContextConfig
    device_long_context: LongContextConfig
    server_sft: SftConfig
    device_sft: SftConfig
    alignment: AlignmentConfig
    """The rounds of the committee, on either side."""
    device_compress: CompressStageConfig
    device_recover: RecoverConfig
    device_features: dict[str, AdaptConfig]
    """Feature -> how its adapter is trained; each learns one skill, and is measured by it."""
    story_beginnings: tuple[str, ...]
    """Plain text that the finished models go on with in the report."""

    def __post_init__(self) -> None:
        known = {source.kind for source in self.corpus.sources} | set(self.conversations.num_train_by_skill)
        if taken := sorted(known & set(self.questions)):
            raise ValueError(f"'{taken[0]}' names questions and something else too; give each its own name")
        known |= set(self.questions)
        if BEST_ANSWERS in known:
            raise ValueError(
                f"'{BEST_ANSWERS}' is what rounds call the best answers; give the kind or skill another name"
            )
        for mixture in self._mixtures():
            if unknown := sorted(set(mixture.share_by_kind) - known):
                raise ValueError(f"a mixture names '{unknown[0]}'; the recipe has {', '.join(sorted(known))}")
        for name, feature in self.device_features.items():
            if _skill(feature) not in self.conversations.num_train_by_skill:
                raise ValueError(f"feature '{name}' learns '{_skill(feature)}', which is no skill of the recipe")
        # What the stages of the rounds refuse is refused here, where it is still known to be the recipe's fault.
        alignment_stages(self.alignment, self.conversations)
        known.add(BEST_ANSWERS)
        for mixture in self._round_mixtures():
            if unknown := sorted(set(mixture.share_by_kind) - known):
                raise ValueError(f"a round's mixture names '{unknown[0]}'; there are {', '.join(sorted(known))}")

    def _mixtures(self) -> tuple[MixtureWeights, ...]:
        text = (self.server_core, self.device_parent_core, self.device_prune.text, self.device_distill.text)
        more = (
            self.server_continued,
            self.device_continued,
            self.server_long_context.text,
            self.device_long_context.text,
        )
        tuned = (self.server_sft, self.device_sft, self.device_compress, self.device_recover)
        return tuple(stage.mixture for stage in (*text, *more, *tuned))

    def _round_mixtures(self) -> tuple[MixtureWeights, ...]:
        rounds = (*self.alignment.server_rounds, *self.alignment.device_rounds)
        return tuple(one.rejection_sampling.mixture for one in rounds)

    @property
    def device_model(self) -> ModelConfig:
        """The device's shape: its parent's with fewer FFN units."""
        return replace(self.device_parent_model, ffn_dim=self.device_prune.ffn_dim)


def stages(recipe: Recipe) -> tuple[Stage, ...]:
    """The recipe's graph, in an order in which every stage comes after its inputs."""
    texts = {split: load_corpus(recipe.corpus, split) for split in ("train", "heldout")}
    corpus_sha256 = fingerprint({f"{split}/{kind}": docs for split in texts for kind, docs in texts[split].items()})
    tokens = {"tokens": "tokens"}
    finished = {side: finished_stage(recipe.alignment, side) for side in ("server", "device")}
    graph = (
        Stage("conversations", "conversations", 2, recipe.conversations, {}, run_conversations),
        Stage(
            "tokenizer",
            "tokenizer",
            1,
            TokenizerStageConfig(corpus=recipe.corpus, tokenizer=recipe.tokenizer, corpus_sha256=corpus_sha256),
            {"conversations": "conversations"},
            run_tokenizer,
        ),
        Stage(
            "tokens",
            "tokens",
            2,
            TokensStageConfig(corpus=recipe.corpus, corpus_sha256=corpus_sha256, questions=recipe.questions),
            {"tokenizer": "tokenizer", "conversations": "conversations"},
            run_tokens,
        ),
        Stage(
            "server_core", "model", 2, CoreConfig(model=recipe.server_model, text=recipe.server_core), tokens, run_core
        ),
        Stage(
            "device_parent_core",
            "model",
            2,
            CoreConfig(model=recipe.device_parent_model, text=recipe.device_parent_core),
            tokens,
            run_core,
        ),
        Stage(
            "device_prune",
            "model",
            3,
            recipe.device_prune,
            tokens | {"parent": "device_parent_core"},
            run_prune,
        ),
        Stage(
            "device_distill",
            "model",
            2,
            recipe.device_distill,
            tokens | {"model": "device_prune", "teacher": "server_core"},
            run_distill,
        ),
        Stage(
            "device_from_scratch",
            "model",
            2,
            CoreConfig(model=recipe.device_model, text=recipe.device_distill.text),
            tokens,
            run_core,
        ),
        Stage(
            "device_from_scratch_continued",
            "model",
            2,
            recipe.device_continued,
            tokens | {"model": "device_from_scratch"},
            run_continued,
        ),
        *_second_half("server", recipe.server_continued, recipe.server_long_context, recipe.server_sft, "server_core"),
        *_second_half(
            "device", recipe.device_continued, recipe.device_long_context, recipe.device_sft, "device_distill"
        ),
        *alignment_stages(recipe.alignment, recipe.conversations),
        Stage(
            "device_compress",
            "palettized_model",
            1,
            recipe.device_compress,
            tokens | {"model": finished["device"]},
            run_compress,
        ),
        Stage(
            "device_recover",
            "palettized_model",
            3,
            recipe.device_recover,
            tokens | {"model": "device_compress", "teacher": finished["device"]},
            run_recover,
        ),
        *(
            Stage(f"device_adapt_{name}", "adapter", 1, feature, tokens | {"model": "device_recover"}, run_adapt)
            for name, feature in recipe.device_features.items()
        ),
        Stage(
            "server",
            "bundle",
            1,
            BundleConfig(),
            {"model": finished["server"], "tokenizer": "tokenizer"},
            run_server_bundle,
        ),
        Stage(
            "device",
            "bundle",
            2,
            BundleConfig(),
            {"model": "device_recover", "tokenizer": "tokenizer"}
            | {f"adapter_{name}": f"device_adapt_{name}" for name in recipe.device_features},
            run_device_bundle,
        ),
        Stage(
            "measure",
            "measurements",
            4,
            MeasureConfig(
                conversations=recipe.conversations,
                skill_by_feature={name: _skill(config) for name, config in recipe.device_features.items()},
                story_beginnings=recipe.story_beginnings,
                sequence_length_tokens=recipe.server_sft.sequence_length_tokens,
            ),
            tokens
            | {"server": "server", "device": "device", "conversations": "conversations"}
            | {name: name for name in _compared(recipe.alignment)},
            run_measure,
        ),
    )
    return (*graph, _report(recipe, graph))


def _skill(feature: AdaptConfig) -> str:
    """The one skill that a feature learns."""
    return next(iter(feature.mixture.share_by_kind))


def _compared(alignment: AlignmentConfig) -> tuple[str, ...]:
    """Dense models to measure beside the bundles: what alignment began with, and what came of it before compression."""
    server = ("server_sft",) if alignment.server_rounds else ()
    return (*server, *(("device_sft", "device_aligned") if alignment.device_rounds else ()))


def _report(recipe: Recipe, graph: tuple[Stage, ...]) -> Stage:
    """The page about all that went before."""
    config = ReportConfig(recipe_name=recipe.name, recipe=to_dict(recipe))
    return Stage("report", "report", 2, config, {stage.name: stage.name for stage in graph}, run_report)


def _second_half(
    side: str, continued: TextStageConfig, long_context: LongContextConfig, sft: SftConfig, start: str
) -> tuple[Stage, ...]:
    """What server and device go through alike after core training."""
    tokens = {"tokens": "tokens"}
    return (
        Stage(f"{side}_continued", "model", 2, continued, tokens | {"model": start}, run_continued),
        Stage(
            f"{side}_long_context",
            "model",
            3,
            long_context,
            tokens | {"model": f"{side}_continued"},
            run_long_context,
        ),
        Stage(f"{side}_sft", "model", 2, sft, tokens | {"model": f"{side}_long_context"}, run_sft),
    )
