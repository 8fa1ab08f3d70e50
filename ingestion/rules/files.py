"""Rule files: read as device files are, checked as a whole, and every mistake told with its line."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from ingestion.rules.definition import Input, Rule
from nexus.config import files as config_files
from nexus.config.alarms import read_alarms
from nexus.config.block import Block, Items
from nexus.config.derived import SOURCES, is_derived, read_derived
from nexus.config.diagnostics import Diagnostics, shown, unknown
from nexus.config.expressions import KnownTag
from nexus.config.keys import STRICT
from nexus.config.location import SourceLocation, shown_name
from nexus.config.variables import Allowed
from nexus.config.yaml_source import Reader
from nexus.contract import topic
from nexus.process.duration import Seconds
from nexus.process.errors import ConfigError
from nexus.readings.definition import DerivedTag

MOST_RULES = 1_000
MOST_INPUTS = 1_000  # of a rule
LEAST_SILENCE_SECONDS = 1.0  # what is shorter would be said late: timers follow the wall clock by as much
_EXAMPLE = "write it like `power: plant/line1/plc001/power`"

Devices = Mapping[str, Collection[str]]  # the tags of each device, by its path


class RuleKeys(BaseModel):
    """A rule."""

    model_config = STRICT
    name: str
    path: str | None = None
    inputs: dict[str, Any] = Field(min_length=1, max_length=MOST_INPUTS)
    tags: list[Any] = []
    alarms: list[Any] = []


class InputKeys(BaseModel):
    """An input that is more than its topic."""

    model_config = STRICT
    topic: str
    stale: Seconds | None = Field(None, gt=0)


def load(path: Path, diagnostics: Diagnostics | None = None, devices: Devices | None = None) -> tuple[Rule, ...]:
    """The rules of a file, or of a directory of files. Raises ConfigError with all that is wrong, a line each.

    With `devices`, an input that none of them has is wrong, and so is a path that one has.
    """
    diagnostics = Diagnostics() if diagnostics is None else diagnostics
    reader = Reader(diagnostics, {}, Allowed("", frozenset(), "rule files"))
    blocks: list[Block] = []
    for file, data in config_files.read(path, diagnostics).items():
        before = len(diagnostics)
        document = reader.read(file, data)
        if document is not None:
            blocks += _listed(diagnostics, file, document)
        elif len(diagnostics) == before:
            diagnostics.add(file, None, "is empty: it needs `rules:`, a list")
    rules = _rules(diagnostics, blocks, devices or {})
    if not rules and not len(diagnostics):
        diagnostics.add(path, None, "no rule is described here: add `rules:`, a list")
    if len(diagnostics):
        raise ConfigError(str(diagnostics))
    return rules


def _listed(diagnostics: Diagnostics, file: Path, document: object) -> list[Block]:
    if not isinstance(document, Block):
        diagnostics.add(file, 1, "a rule file is a mapping with `rules:`")
        return []
    location = SourceLocation(diagnostics, document, "rule file")
    for key in document.keys() - {"rules"}:
        location.fault(key, unknown(key, ("rules",)))
    listed = document.get("rules") or Items(document.line)
    if not isinstance(listed, Items):
        location.fault("rules", "rules must be a list: each one starts with `- name:`")
        return []
    for index, raw in enumerate(listed):
        if not isinstance(raw, Block):
            diagnostics.add(file, listed.lines[index], "a rule is a mapping: name, path, inputs, tags and alarms")
    return [raw for raw in listed if isinstance(raw, Block)]


def _rules(diagnostics: Diagnostics, blocks: Sequence[Block], devices: Devices) -> tuple[Rule, ...]:
    locations = [SourceLocation(diagnostics, raw, f"rule {shown_name(raw)}") for raw in blocks]
    if len(locations) > MOST_RULES:
        locations[MOST_RULES].fault(None, f"with this one there are more than {MOST_RULES:,} rules")
        return ()
    found = [(location, _rule(location, devices)) for location in locations]
    rules = [(location, rule) for location, rule in found if rule is not None]
    _refuse_doubles(rules)
    _refuse_loops(rules, devices)
    if devices:
        _refuse_strangers(rules, devices)
    return tuple(rule for _, rule in rules)


def _rule(location: SourceLocation, devices: Devices) -> Rule | None:
    raw = location.block
    keys = location.checked(RuleKeys, raw)
    _check_topic(location)
    if isinstance(path := raw.get("path") or raw.get("name"), str) and path in devices:
        location.fault("path", "a device has this path: change one of the two")
    inputs = _inputs(location, raw.get("inputs"))
    # Those that are wrong are known, too: what names them is right.
    known = {str(name): KnownTag() for name in raw["inputs"]} if isinstance(raw.get("inputs"), Mapping) else {}
    tags = _tags(location, raw.get("tags"), known)
    derived = read_derived(list(tags.values()), known)
    _check_silences(tags, derived)
    alarms = read_alarms(location, tags, known, own_conditions=("when",))
    if keys is None:
        return None
    if not keys.tags and not keys.alarms:
        location.fault(None, "says nothing: give it `tags`, `alarms` or both")
    names = [tag.name for tag in derived]
    names += [f"{alarm.tag}/{alarm.name}" for alarm in alarms]
    _check_length(location, keys.path or keys.name, names)
    return Rule(keys.name, keys.path or keys.name, tuple(inputs), tuple(derived), tuple(alarms))


def _check_topic(location: SourceLocation) -> None:
    for key in ("name", "path"):
        name = location.block.get(key)
        if isinstance(name, str) and (fault := topic.name_fault(name, path=key == "path" or "/" in name)):
            location.fault(key, f"{key} {shown(name)} {fault}")
        elif isinstance(name, str):
            location.check_seen(key, name)


def _check_length(location: SourceLocation, path: str, names: Iterable[str]) -> None:
    """Of names below the rule's path."""
    room = topic.LONGEST - len(topic.alarm(path, "", "").encode("utf-8", "surrogatepass"))
    for name in names:
        if len(name.encode("utf-8", "surrogatepass")) > room:
            topics = f"the topics of {shown(name)} have more than {topic.LONGEST:,} bytes"
            location.fault(None, f"{topics}, more than the database takes: use a shorter name or path")


def _inputs(location: SourceLocation, listed: object) -> list[Input]:
    """The valid ones; the others are reported."""
    found = []
    for name, raw in listed.items() if isinstance(listed, Mapping) else ():
        if fault := topic.name_fault(name):
            location.fault("inputs", f"input {shown(name)} {fault}")
        elif (one := _input(location, name, raw)) is not None:
            found.append(one)
    return found


def _refuse_strangers(rules: Sequence[tuple[SourceLocation, Rule]], devices: Devices) -> None:
    """Inputs that no device has, and no rule."""
    paths = {rule.path for _, rule in rules}
    for location, rule in rules:
        lines = location.block["inputs"]
        inputs = SourceLocation(location.diagnostics, _lines(location.block.file, lines), location.label)
        for one in rule.inputs:
            path, _, tag = one.source.rpartition("/")
            if (tags := devices.get(path)) is not None and tag not in tags:
                inputs.fault(one.name, f"input {one.name}: {path} has no tag {shown(tag)}{_meant(tag, tags)}")
            elif tags is None and _above(path, paths) is None:
                inputs.fault(one.name, f"input {one.name}: there is no device {shown(path)}{_meant(path, devices)}")


def _lines(file: Path, of: Block) -> Block:
    """Where its keys stand."""
    found = Block(file, of.line)
    found.lines = of.lines
    return found


def _meant(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, known, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _input(rule: SourceLocation, name: str, raw: object) -> Input | None:
    if isinstance(raw, Block):
        location = SourceLocation(rule.diagnostics, raw, rule.label, f", input {name}")
        keys = location.checked(InputKeys, raw)
    else:
        block = Block(rule.block.file, rule.block["inputs"].line_of(name))
        location = SourceLocation(rule.diagnostics, block, rule.label, f", input {name}")
        keys = InputKeys(topic=raw) if isinstance(raw, str) else None
        if keys is None:
            location.fault("topic", f"{shown(raw)} is no topic: {_EXAMPLE}")
    if keys is None:
        return None
    if (fault := _topic_fault(keys.topic)) is not None:
        location.fault("topic", f"topic {shown(keys.topic)} {fault}")
        return None
    location.check_seen("topic", keys.topic)
    return Input(name, keys.topic, keys.stale)


def _topic_fault(source: str) -> str | None:
    if source.startswith(topic.ROOT):
        return f"begins with `{topic.ROOT}`: leave that out"
    if "/" not in source:
        return f"has no device: {_EXAMPLE}, with the device's path and the tag"
    return topic.name_fault(source, path=True)


def _tags(rule: SourceLocation, listed: object, known: dict[str, KnownTag]) -> dict[str, SourceLocation]:
    """Where the derived tags stand, by name; they are `known` from now on."""
    found: dict[str, SourceLocation] = {}
    for raw in listed if isinstance(listed, list) else ():
        if not isinstance(raw, Block):
            rule.fault("tags", f'{shown(raw)} is no tag: write it like {{name: total, expression: "a + b"}}')
            continue
        location = SourceLocation(rule.diagnostics, raw, rule.label, f", tag {shown_name(raw)}")
        if not is_derived(raw):
            location.fault(None, f"has no value: give it one of {', '.join(SOURCES)}")
        name = raw.get("name")
        if not isinstance(name, str):
            name = f"(no name, line {raw.line})"  # which is reported with its keys
        elif fault := topic.name_fault(name):
            location.fault("name", f"the tag's name {fault}")
        elif name in known:
            location.fault("name", "name already used by an input or a tag of this rule: rename one")
            continue
        else:
            location.check_seen("name", name)
        known[name] = KnownTag()
        found[name] = location
    return {name: location for name, location in found.items() if is_derived(location.block)}


def _check_silences(tags: Mapping[str, SourceLocation], derived: Iterable[DerivedTag]) -> None:
    for tag in derived:
        silence = tag.report.max_silence if tag.report is not None else None
        if silence is not None and silence < LEAST_SILENCE_SECONDS:
            said = f"max_silence of {silence * 1000:g}ms is too short for the tag of a rule"
            tags[tag.name].fault("max_silence", f"{said}: write {LEAST_SILENCE_SECONDS:g}s, the least, or more")


def _refuse_doubles(rules: Sequence[tuple[SourceLocation, Rule]]) -> None:
    """No two rules have one name, or paths of which one lies in the other."""
    names: dict[str, SourceLocation] = {}
    paths: dict[str, str] = {}
    for location, rule in rules:
        if (other := names.setdefault(rule.name, location)) is not location:
            location.fault("name", f"name already used at {other.block.file}:{other.block.line}: rename one")
        elif (first := paths.setdefault(rule.path, rule.name)) != rule.name:
            location.fault("path", f"path {rule.path!r} is also that of rule {first}: change one")
    for location, rule in rules:
        if (above := _above(rule.path.rpartition("/")[0], paths)) is not None:
            location.fault("path", f"path {rule.path!r} lies below that of rule {paths[above]}: put it beside that one")


def _refuse_loops(rules: Sequence[tuple[SourceLocation, Rule]], devices: Devices) -> None:
    """What rules say is no input of rules: so there are no circles, and no order to think of."""
    paths = {rule.path: rule.name for _, rule in rules if rule.path not in devices}
    for location, rule in rules:
        own = []
        for one in rule.inputs:
            if (path := _above(one.source, paths)) == rule.path:
                own.append(one.name)
            elif path is not None:
                said = f"input {one.name} is what rule {paths[path]} says, and rules take devices"
                location.fault("inputs", f"{said}: write its expression here, or put both into one rule")
        if own:
            taken = f"input {own[0]} is" if len(own) == 1 else f"inputs {', '.join(own)} are"
            location.fault("path", f"{taken} below path {rule.path!r}, which is the rule's own: give it another path")


def _above(path: str, paths: Collection[str]) -> str | None:
    """Which of `paths` is this one, or lies above it."""
    while path and path not in paths:
        path = path.rpartition("/")[0]
    return path or None
