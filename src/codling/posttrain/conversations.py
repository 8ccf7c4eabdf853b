"""The conversations that fine-tuning reads: drawn from the skills, encoded, with the assistant's tokens marked.

    conversations artifact:  tokenizer.model, train/<skill>/, heldout/<skill>/, heldout/<skill>.jsonl
"""

import json
from pathlib import Path
from typing import Any

from jaxtyping import PRNGKeyArray

from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.data.sources import CorpusConfig, SourceConfig, load_requests, load_source
from codling.data.tokens import join_documents, save_tokens
from codling.errors import UserError
from codling.skills.intents import ASSISTANT_INTENTS, Intents
from codling.skills.proofread import Proofread
from codling.skills.skill import Example, Skill
from codling.skills.story_answers import StoryAnswers
from codling.skills.tool_calls import ToolCalls
from codling.tokenizer.chat_template import EncodedChat, encode_chat
from codling.tokenizer.encode import MODEL_FILE, Tokenizer

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
    seed: int = 0
    """Which conversations are drawn."""


def build_skill(name: str, config: ConversationsConfig) -> Skill:
    """Make a skill over the embedded corpus. Errors: `UserError` that lists the skills there are."""
    stories = {split: load_source(STORIES, split) for split in ("train", "heldout")}
    makers = {
        "tool_calls": lambda: ToolCalls(),
        "intents": lambda: Intents(load_requests("train"), load_requests("test"), config.intents),
        "story_answers": lambda: StoryAnswers(stories["train"], stories["heldout"]),
        "proofread": lambda: Proofread(stories["train"], stories["heldout"]),
    }
    if name not in makers:
        raise UserError(f"unknown skill '{name}' (known: {', '.join(makers)})")
    return makers[name]()


def run_conversations(config: ConversationsConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Draw and encode the conversations. Inputs: tokenizer."""
    tokenizer = Tokenizer.load(inputs["tokenizer"].path)
    figures: dict[str, Any] = {}
    with out.progress(len(config.num_train_by_skill)) as progress:
        for done, (name, num_train) in enumerate(config.num_train_by_skill.items(), start=1):
            skill = build_skill(name, config)
            train = skill.examples("train", num_train, config.seed)
            heldout = skill.examples("heldout", config.num_heldout, config.seed)
            lengths = []
            for split, examples in (("train", train), ("heldout", heldout)):
                chats = [encode_chat(tokenizer, example.messages, example.tools or None) for example in examples]
                masks = [_last_turn(chat) if split == "heldout" else chat.loss_mask for chat in chats]
                save_tokens(out.path / split / name, join_documents([chat.ids for chat in chats], masks))
                lengths += [len(chat.ids) for chat in chats]
            _write_examples(out.path / "heldout" / f"{name}.jsonl", heldout)
            figures[name] = {
                "num_train": len(train),
                "num_heldout": len(heldout),
                "longest_tokens": max(lengths),
                "baselines": skill.baselines(train, heldout),
            }
            progress.update(done)
    (out.path / MODEL_FILE).write_bytes(tokenizer.model)
    return {"skills": figures, "tokenizer_sha256": tokenizer.sha256}


def read_examples(path: Path) -> list[Example]:
    """Read what the stage wrote for evaluation."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Example(tuple(row["messages"]), tuple(row["tools"]), row["skill"], row["category"]) for row in rows]


def _write_examples(path: Path, examples: list[Example]) -> None:
    lines = [json.dumps(example._asdict(), ensure_ascii=False) + "\n" for example in examples]
    path.write_text("".join(lines), encoding="utf-8")


def _last_turn(chat: EncodedChat) -> list[bool]:
    """Only the last assistant turn is the answer that a held-out conversation is scored on."""
    mask = list(chat.loss_mask)
    last_unmasked = max((index for index, is_own in enumerate(mask) if not is_own), default=-1)
    return [is_own and index > last_unmasked for index, is_own in enumerate(mask)]
