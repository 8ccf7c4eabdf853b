import json
import re
from html.parser import HTMLParser
from pathlib import Path

import jax
import pytest

from codling.artifact.stage import Artifact
from codling.artifact.workspace import SilentReporter, Workspace
from codling.pretrain.unit_scores import Method
from codling.report.page import REPORT_FILE, ReportConfig, build_page, run_report
from codling.report.titles import PRUNING_METHODS
from tests.report.conftest import ADAPTED, drop_features
from tests.report.sample_rounds import add_rounds

VOID = {"meta", "br", "link", "hr", "img", "input"}


class Tags(HTMLParser):
    """Checks that tags are closed in order; collects ids and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.links += [value for name, value in attrs if name == "href" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


def read(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    tags.text = " ".join(tags.text.replace("\u00a0", " ").split())
    return tags


@pytest.fixture
def page(report_config: ReportConfig, inputs: dict[str, Artifact]) -> str:
    return build_page(report_config, inputs)


def test_the_same_artifacts_give_the_same_bytes(
    report_config: ReportConfig, inputs: dict[str, Artifact], page: str
) -> None:
    assert build_page(report_config, inputs) == page


def test_needs_nothing_from_elsewhere_and_no_script(page: str) -> None:
    assert "http" not in page
    assert not re.search(r"url\((?!#)", page)
    assert not {"script", "link", "img", "iframe", "object"} & set(read(page).seen)


def test_every_id_is_given_once_and_every_link_leads_to_one(page: str) -> None:
    tags = read(page)
    assert len(tags.ids) == len(set(tags.ids))
    assert {link.removeprefix("#") for link in tags.links} <= set(tags.ids)


def test_what_models_wrote_is_escaped(page: str) -> None:
    assert "<script" not in page
    # One wrong answer of each model, two stories, and an answer with each feature adapter.
    assert page.count("&lt;script&gt;") == 4 + len(ADAPTED)


def test_shows_the_numbers_of_the_build(page: str) -> None:
    text = read(page).text
    for shown in (
        "8.111 → 4.222", "−3.889", "5.123", "6.789", "4.321", "4.999", "2.00 M", "900 k", "4.25", "5.31", "597 kB",
        "697 kB", "8.00 MB", "50.0 k", "3 min 50 s", "1.70", "won back 75.0% of it", "2 / 4",
        "15.0% – 85.0%", "Test CPU", "abc123", "jax 0.10.2", "codling build sample", "rate = 0.003",
        "device_distill-000000000006",
        "4.111", "4.099", "+0.012", "teacher server_core",
    ):  # fmt: skip
        assert shown in text, shown


def test_compression_and_adapters_are_told(page: str) -> None:
    text = read(page).text
    for shown in (
        "The bits of every matrix", "4.25 bits a weight on average over the projections", "5.31 with embedding",
        "2 bits: 6 of 28 matrices", "4 bits: 22 of 28 matrices", "they cost 0.0820 nats a token together",
        "2 bits everywhere would cost 0.280", "4 bits everywhere would cost 0.0280",
        "model.layers.1.mlp.up_proj.weight 2 bits, 2.12 a weight as stored at 2 bits 0.0100 nats a token",
        "it moved the model 0.0800 nats a token away", "The tables are trained along with the adapter.",
        "Adapter's start73.704.3000.7003.100+0.100 0.050037.5%", "Recovered70.114.2500.6503.050+0.050 0.020075.0%",
        "Won back is the share of the divergence",
        "An adapter for each feature", "200 prompts, exact 60.0%61.0%68.5%20 / 5 +7.5", "Prompt other", "1.2 ms",
        "3 feature adapters", "Adapter: short answers (device) short answers 0.650 → 0.525 −0.125",
    ):  # fmt: skip
        assert shown in text, shown
    assert "Prompt same" not in text


def test_a_build_without_features_does_not_speak_of_them(
    report_config: ReportConfig, inputs: dict[str, Artifact]
) -> None:
    drop_features(inputs)
    tags = read(build_page(report_config, inputs))
    assert {link.removeprefix("#") for link in tags.links} <= set(tags.ids)
    assert "adapters" not in tags.ids
    assert "feature adapter" not in tags.text


def test_a_figure_that_cannot_be_drawn_is_named(report_config: ReportConfig, inputs: dict[str, Artifact]) -> None:
    (inputs["device_distill"].path / "metrics.jsonl").unlink()
    del inputs["server_long_context"].manifest.metrics["nll_by_position_before"]
    text = read(build_page(report_config, inputs)).text
    assert text.count("Not drawn: a stage of this build left no training records.") == 2
    assert text.count("Not drawn: the loss by position was not measured.") == 1


def test_run_leaves_the_page(report_config: ReportConfig, inputs: dict[str, Artifact], tmp_path: Path) -> None:
    out = Workspace("report", tmp_path, SilentReporter())
    metrics = run_report(report_config, inputs, out, jax.random.key(0))
    written = (tmp_path / REPORT_FILE).read_bytes()
    assert metrics == {"size_bytes": len(written)}
    assert json.dumps(metrics)


def test_every_pruning_method_has_a_name_on_the_page() -> None:
    assert set(PRUNING_METHODS) == set(Method)


def measure_more(inputs: dict[str, Artifact]) -> None:
    """The models that the rounds began and ended with, on the skills alone."""
    path = inputs["measure"].path / "measurements.json"
    measured = json.loads(path.read_text(encoding="utf-8"))
    for model, same_as in (("server_sft", "device"), ("device_sft", "server"), ("device_aligned", "device")):
        measured[model] = {"skills": measured[same_as]["skills"]}
    path.write_text(json.dumps(measured), encoding="utf-8")


@pytest.fixture
def aligned_page(report_config: ReportConfig, inputs: dict[str, Artifact], tmp_path: Path) -> str:
    add_rounds(inputs, tmp_path, 2, 1)
    measure_more(inputs)
    return build_page(report_config, inputs)


def test_alignment_is_told_round_by_round(aligned_page: str) -> None:
    tags = read(aligned_page)
    for shown in (
        "Server: 2 rounds", "Device: 1 round", "iTeC, 2 rounds", "iTeC, 1 round", "★ the best", "MDLOO, round 2",
        "Server MDLOO, round 1", "Against thebest before", "Round 2, by 200 validation prompts",
        "In round 1 SFT was the only member.", "75.0% 30", "9: neither answer is better", "50.0% → 90.0%",
        "instruction following 70.0%", "0.420 → 0.560", "8.0e-06", "Round 1: reward model (server)",
        "Server, fine-tuned only", "Device, not compressed", "The aligned server is level with its fine-tuned self",
        "Prompts of the rounds",
    ):  # fmt: skip
        assert shown in tags.text, shown
    assert len(tags.ids) == len(set(tags.ids))
    assert {link.removeprefix("#") for link in tags.links} <= set(tags.ids)
    assert "aligned" in tags.ids


def test_an_aligned_page_needs_nothing_from_elsewhere_and_is_the_same_again(
    report_config: ReportConfig, inputs: dict[str, Artifact], aligned_page: str
) -> None:
    assert "http" not in aligned_page
    assert set(re.findall(r"url\(#([^)]+)\)", aligned_page)) <= set(read(aligned_page).ids)
    assert build_page(report_config, inputs) == aligned_page


def test_the_comparison_is_of_the_measured_answers(aligned_page: str) -> None:
    text = read(aligned_page).text
    assert "Aligned against fine-tuned" in text
    # Of four requests each gets two right, one of them the other does not: three pairs, on all requests and by skill.
    assert text.count("450.0%50.0%1 / 1 ±0.0") == 6
    assert "Server, aligned" in text
    assert "Device, aligned, not compressed" in text
    assert "Device, aligned, as shipped" in text


def test_without_rounds_one_line_says_so(page: str) -> None:
    text = read(page).text
    assert "This recipe has no rounds of alignment: both bundles hold the fine-tuned models." in text
    assert "iTeC" not in text
    assert "Aligned against fine-tuned" not in text


def test_a_side_without_rounds_and_models_that_were_not_measured_are_named(
    report_config: ReportConfig, inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    add_rounds(inputs, tmp_path, 1, 0)
    (inputs["server_round1_mdloo"].path / "metrics.jsonl").unlink()
    inputs["server_round1_rewards"].manifest.metrics.update(before=None, after=None)
    text = read(build_page(report_config, inputs)).text
    assert "No rounds: its bundle holds the fine-tuned model." in text
    assert "Not compared: this build did not measure the fine-tuned models." in text
    assert text.count("Not drawn: the online training left no records.") == 2
    assert "not measured" in text
