"""The conversations that fine-tuning reads and that models are judged on, drawn from the skills.

    conversations artifact:  train/<skill>.jsonl, heldout/<skill>.jsonl

They come first in a recipe: the tokenizer learns from their text too, or it would spell tool calls letter by letter.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxtyping import PRNGKeyArray

from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.data.sources import SourceConfig, Split, load_requests, load_source
from codling.errors import UserError
from codling.skills.arithmetic import Arithmetic
from codling.skills.example_files import read_examples, write_examples
from codling.skills.formats import Formats
from codling.skills.intents import ASSISTANT_INTENTS, Intents
from codling.skills.proofread import Proofread
from codling.skills.skill import Example, Skill
from codling.skills.story_answers import StoryAnswers
from codling.skills.tool_calls import ToolCalls

STORIES = SourceConfig(kind="stories")


@config
class ConversationsConfig:
    """How many conversations of each skill."""

    num_train_by_skill: dict[str, int]
    """Skill -> training conversations."""
    num_heldout: int
    """Held-out conversations of each skill, that the models are judged on."""
    intents: tuple[str, ...] = ASSISTANT_INTENTS
    """CLINC150 intents that are told apart; all others are "other"."""
    new_words: bool = True
    """Whether held-out requests and stories name things that training never names, or are only new as a whole."""
    seed: int = 0
    """Which conversations are drawn."""


def build_skill(name: str, config: ConversationsConfig) -> Skill:
    """Make a skill over the embedded corpus. Errors: `UserError` that lists the skills there are."""
    stories = {split: load_source(STORIES, split) for split in ("train", "heldout")}
    makers: dict[str, Callable[[], Skill]] = {
        "tool_calls": lambda: ToolCalls(new_words=config.new_words),
        "intents": lambda: Intents(
            [*load_requests("train"), *load_requests("val")], load_requests("test"), config.intents
        ),
        "story_answers": lambda: StoryAnswers(stories["train"], stories["heldout"], new_words=config.new_words),
        "arithmetic": Arithmetic,
        "formats": Formats,
        "proofread": lambda: Proofread(stories["train"], stories["heldout"]),
    }
    if name not in makers:
        raise UserError(f"unknown skill '{name}' (known: {', '.join(makers)})")
    return makers[name]()


def run_conversations(config: ConversationsConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Draw the conversations. No inputs."""
    figures: dict[str, Any] = {}
    with out.progress(len(config.num_train_by_skill)) as progress:
        for done, (name, num_train) in enumerate(config.num_train_by_skill.items(), start=1):
            skill = build_skill(name, config)
            train = skill.examples("train", num_train, config.seed)
            heldout = skill.examples("heldout", config.num_heldout, config.seed)
            write_examples(out.path / "train" / f"{name}.jsonl", train)
            write_examples(out.path / "heldout" / f"{name}.jsonl", heldout)
            figures[name] = {
                "num_train": len(train),
                "num_heldout": len(heldout),
                "baselines": skill.baselines(train, heldout),
            }
            progress.update(done)
    return {"skills": figures}


def load_conversations(directory: Path, split: Split) -> dict[str, list[Example]]:
    """The examples of every skill in a conversations artifact."""
    return {path.stem: read_examples(path) for path in sorted((directory / split).glob("*.jsonl"))}
