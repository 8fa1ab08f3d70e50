"""What the documentation shows is what the code takes."""

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from pydantic_settings import BaseSettings

from console import metrics as console_metrics
from console.settings import Settings as ConsoleSettings
from db import monitor as database_metrics
from db.settings import Settings as DatabaseSettings
from gateway import metrics as gateway_metrics
from gateway.config import devices as config
from gateway.settings import Settings as GatewaySettings
from ingestion import metrics as ingestion_metrics
from ingestion.rules import files as rules
from ingestion.rules import metrics as rules_metrics
from ingestion.rules.settings import Settings as RulesSettings
from ingestion.settings import Settings as IngestionSettings
from nexus.mqtt.settings import Settings as MqttSettings
from nexus.process.settings import Process
from simulators import service as simulation

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])


SIMULATION = ROOT / "docs/simulation.md"
RULES = ROOT / "docs/operations/rules.md"
NOTIFICATIONS = ROOT / "docs/operations/notifications.md"  # its example: test_notify_config.py


def examples(language: str) -> list[Any]:
    return [
        pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
        for page in PAGES
        if page not in (SIMULATION, RULES, NOTIFICATIONS)
        for number, block in enumerate(re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL))
    ]


@pytest.mark.parametrize("text", examples("yaml"))
def test_every_device_file_shown_is_accepted(text: str, tmp_path: Path) -> None:
    (tmp_path / "plant.yaml").write_text(text)
    assert config.load(tmp_path)


def test_the_simulation_shown_is_accepted(tmp_path: Path) -> None:
    [text] = re.findall(r"```yaml\n(.*?)```", SIMULATION.read_text(), re.DOTALL)
    (tmp_path / "plant.yaml").write_text(text)
    assert [device.name for device in simulation.load(tmp_path / "plant.yaml").devices] == ["mixer", "filler", "press"]


def test_the_rules_shown_are_accepted(tmp_path: Path) -> None:
    [text] = re.findall(r"```yaml\n(.*?)```", RULES.read_text(), re.DOTALL)
    (tmp_path / "rules.yaml").write_text(text)
    assert [rule.name for rule in rules.load(tmp_path / "rules.yaml")] == ["line1"]


def test_the_devices_of_compose_are_accepted_and_have_what_its_rules_take() -> None:
    devices = config.load(ROOT / "infrastructure/docker/devices")
    tags = {f"{one.device.path}/{tag}" for one in devices for tag in one.tag_names}
    inputs = {one.source for rule in rules.load(ROOT / "infrastructure/docker/rules") for one in rule.inputs}
    assert inputs <= tags


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_each_page_is_once_in_the_navigation_of_the_site() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    pages = [str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/**/*.md")]
    assert sorted(_pages_of(site["nav"])) == sorted(pages)


def _pages_of(nav: object) -> list[str]:
    match nav:
        case str():
            return [nav]
        case dict():
            return _pages_of(list(nav.values()))
        case list():
            return [page for part in nav for page in _pages_of(part)]
    raise AssertionError(nav)


def test_the_site_needs_no_network() -> None:
    """What is here fetches nothing from elsewhere; Material's fonts would."""
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    assert site["theme"]["font"] is False
    assert site["strict"] is True
    assert "//" not in str(site.get("extra_javascript", "")) + str(site.get("extra_css", ""))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_that_are_named_are_there(page: Path) -> None:
    tops = "nexus|gateway|ingestion|simulators|db|infrastructure|scripts|tests|docs"
    for named in re.findall(rf"`((?:{tops})/[\w./-]+)`", page.read_text()):
        assert (ROOT / named).exists(), named


def test_the_files_that_decide_are_those_that_are_checked() -> None:
    [contract] = [one for one in _contracts() if one["name"].startswith("what decides")]
    said = re.search(r"Files that decide \(([^)]+)\)", (ROOT / "docs/architecture.md").read_text())
    assert said is not None
    checked = {module.rpartition(".")[2] for module in contract["source_modules"]}
    assert set(re.findall(r"`(\w+)`", said[1])) <= checked


def _answers() -> list[Any]:
    """The rows of "Where is …?": a file, and a name in it."""
    section = (ROOT / "docs/architecture.md").read_text().partition("## Where is …?")[2].partition("\n## ")[0]
    rows = [line.split("|")[2:4] for line in section.splitlines() if line.startswith("|")][2:]
    return [(file.strip(" `"), name) for file, names in rows for name in re.findall(r"`([\w.]+)`", names)]


@pytest.mark.parametrize(("file", "name"), _answers())
def test_what_a_newcomer_is_sent_to_is_there(file: str, name: str) -> None:
    text = (ROOT / file).read_text()
    if file.endswith(".sql"):
        assert f"CREATE FUNCTION {name}(" in text
    else:
        assert name in _functions(ast.parse(text))


def _functions(tree: ast.Module) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    methods = {
        f"{owner.name}.{one.name}"
        for owner in tree.body
        if isinstance(owner, ast.ClassDef)
        for one in owner.body
        if isinstance(one, kinds)
    }
    return methods | {one.name for one in tree.body if isinstance(one, kinds)}


METRICS = [
    gateway_metrics.registry,
    ingestion_metrics.registry,
    rules_metrics.registry,
    console_metrics.registry,
    database_metrics.registry,
]


def _contracts() -> list[dict[str, Any]]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return list(project["tool"]["importlinter"]["contracts"])


SETTINGS = [Process, MqttSettings, GatewaySettings, IngestionSettings, RulesSettings, ConsoleSettings, DatabaseSettings]


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_setting_is_documented(kind: type[BaseSettings]) -> None:
    page = (ROOT / "docs/operations/settings.md").read_text()
    missing = [name for name in kind.model_fields if f"`NEXUS_{name.upper()}`" not in page]
    assert missing == []


@pytest.mark.parametrize("registry", METRICS)
def test_every_metric_is_documented(registry: CollectorRegistry) -> None:
    page = (ROOT / "docs/operations/monitoring.md").read_text()
    names = {f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in registry.collect()}
    assert [name for name in names if name.startswith("nexus_") and f"`{name}`" not in page] == []


def test_each_page_of_operations_is_in_its_list() -> None:
    listed = (ROOT / "docs/operations/README.md").read_text()
    pages = [page.name for page in (ROOT / "docs/operations").glob("*.md") if page.name != "README.md"]
    assert [name for name in pages if f"]({name}" not in listed] == []


def test_runbooks_quote_log_messages_that_exist() -> None:
    folders = ("gateway", "ingestion", "console", "nexus", "db")
    code = "".join(file.read_text() for folder in folders for file in (ROOT / folder).rglob("*.py"))
    pages = "".join(page.read_text() for page in ROOT.glob("docs/operations/runbooks/*.md"))
    quoted = set(re.findall(r"`((?:a|the) [a-z ]+)`", pages))
    assert len(quoted) > 5
    assert sorted(text for text in quoted if text not in code) == []
