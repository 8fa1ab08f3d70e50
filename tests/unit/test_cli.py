"""The command line: its help, its order and its exit codes."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.core import TyperGroup

from nexus.cli import main
from nexus.cli.app import COMMANDS, app

README = Path(__file__).parents[2] / "README.md"
DOCS = README.parent / "docs"
PAGES = [README, *sorted(DOCS.glob("**/*.md"))]


def everything(command: Any, words: tuple[str, ...] = ("nexus",)) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from everything(inner, (*words, name))


ROOT = typer.main.get_command(app)
ALL = dict(everything(ROOT))


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert isinstance(end.value.code, int | None)
    return end.value.code or 0


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_help_has_examples_that_parse(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words[1:], "--help") == 0
    examples = re.findall(r"^    (.+)$", capsys.readouterr().out.partition("Examples:")[2].partition("\n\n")[0], re.M)
    assert examples
    for example in examples:
        given = [word for word in shlex.split(example.partition(" > ")[0]) if not re.match(r"NEXUS_\w+=", word)]
        assert given[0] == "nexus"
        if isinstance(ALL[words], TyperGroup):
            continue  # an example of its commands, or of any
        assert given[: len(words)] == list(words)
        ALL[words].make_context(words[-1], given[len(words) :])


def shell(page: Path) -> list[list[str]]:
    """The `nexus` commands that a page tells to type, with the variables before them."""
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)).replace("\\\n", " ")
    lines = re.findall(r"^(?:\w+=\S+ )*(?:\S+/)?nexus .+$", blocks, re.MULTILINE)
    return [shlex.split(re.split(r" (?:>|&&?|\|)(?: |$)", line)[0], comments=True) for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_shows_parses(page: Path) -> None:
    for given in shell(page):
        words = [word for word in given if not re.match(r"NEXUS_\w+=", word)][1:]
        command = ROOT
        while isinstance(command, TyperGroup) and words and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        command.make_context("nexus", words)


@pytest.mark.parametrize("page", [README, DOCS / "index.md"], ids=lambda page: page.name)
def test_gateway_and_ingester_of_the_first_steps_run_side_by_side(page: Path) -> None:
    ports = [
        next((word for word in given if word.startswith("NEXUS_HEALTH_PORT=")), "the default")
        for given in shell(page)
        if {"gateway", "ingest"} & set(given)
    ]
    assert len(ports) == len(set(ports)) == 2


def test_every_summary_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    for words, command in ALL.items():
        if isinstance(command, TyperGroup):
            run(*words[1:], "--help")
    assert "..." not in re.sub(r"(ARGS|TAG)\]\.\.\.", "", capsys.readouterr().out)


def test_commands_stand_in_the_order_of_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    shell = "\n".join(re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL))
    used = list(dict.fromkeys(re.findall(r"^(?:\w+=\S+ )*nexus (\w+)", shell, re.MULTILINE)))
    order = [name for name, _ in COMMANDS]
    assert used == [name for name in order if name in used]
    run("--help")
    listed = capsys.readouterr().out.partition("Commands:\n")[2]
    assert re.findall(r"^  (\w+)  ", listed, re.MULTILINE) == order


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = tmp_path / "good.yaml"
    good.write_text("devices: [{name: a, protocol: modbus-tcp, host: h, tags: [{name: t, address: 'coil:1'}]}]")
    for arguments, code, said in (
        (["--version"], 0, "nexus-edge "),
        (["check", str(good)], 0, "ok: 1 device, 1 tag"),
        ([], 2, "Commands:"),
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["check"], 2, "Missing argument 'PATH'"),
        (["check", "a", "b"], 2, "unexpected extra argument"),
        (["check", "--nonsense"], 2, "No such option"),
        (["check", str(tmp_path / "none.yaml")], 2, "cannot be read"),
        (["load", "--rate", "fast"], 2, "--rate"),
        (["rejects", "purge"], 2, "choose which"),
        (["verify", str(tmp_path / "none.json")], 2, "`nexus load --out` writes it"),
    ):
        assert run(*arguments) == code, arguments
        assert said.lower() in "".join(capsys.readouterr()).lower(), arguments


def test_what_containers_run_parses() -> None:
    infrastructure = README.parent / "infrastructure"
    files = [*infrastructure.glob("docker/*.yml"), *infrastructure.glob("k8s/**/*.yaml")]
    found = re.findall(r"(?:args|command): (\[.*\])$", "\n".join(file.read_text() for file in files), re.MULTILINE)
    commands = [words for words in map(yaml.safe_load, found) if words[0] in dict(COMMANDS)]
    assert len(commands) > 10
    for words in commands:
        named = max((known for known in ALL if ["nexus", *words][: len(known)] == list(known)), key=len)
        ALL[named].make_context(named[-1], [str(word) for word in words[len(named) - 1 :]])


def test_a_negative_number_is_a_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("write", "a", "t", "-5", "--devices", str(tmp_path / "none.yaml")) == 2
    assert "none.yaml: cannot be read" in capsys.readouterr().err


def test_interrupted_is_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nexus.cli.credentials.check", interrupted)
    assert run("secrets") == 1
