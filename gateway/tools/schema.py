"""`nexus schema`: a JSON Schema of device files, made of the models that check them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from gateway import drivers
from gateway.config.schema import DeviceKeys, TagKeys
from gateway.config.variables import CONNECTING
from gateway.drivers.driver import Driver
from gateway.tools import described
from nexus.config.alarm_keys import CONDITIONS, OF_DEVICES, AlarmKeys
from nexus.config.derived import SOURCES
from nexus.config.keys import DerivedKeys
from nexus.process.duration import EXAMPLES
from nexus.process.errors import ConfigError

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"}
_NOT_OF_SCHEMA = ("title", "gt", "ge", "lt", "le")  # pydantic puts the limits of durations there, in seconds
_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_OF_ONE_FAMILY = ("word_order", "byte_order")  # of a tag: only Modbus has word orders

Schema = dict[str, Any]


def schema() -> tuple[Schema, list[str]]:
    """A JSON Schema (draft 2020-12), and which protocols are left out because their drivers are not installed.

    It uses no keyword that editors for older drafts do not know. Each protocol has a definition of its own that repeats
    the keys of all devices, because few editors know `unevaluatedProperties`. Raises ConfigError without any protocol.
    """
    made = _Made()
    made.add_derived()
    made.add_alarms()
    protocols, remarks = _add_protocols(made)
    if not protocols:
        raise ConfigError("\n".join(remarks))
    made.add_any(protocols)
    return _document(protocols, made.definitions), remarks


def _add_protocols(made: "_Made") -> tuple[list[str], list[str]]:
    """The protocols that were added, and why others were not."""
    protocols: list[str] = []
    remarks: list[str] = []
    for protocol in drivers.names():
        try:
            made.add_protocol(protocol)
            protocols.append(protocol)
        except ConfigError as error:
            remarks.append(f"left out: {error}")
        except Exception as error:  # a fault in another package's driver: only its own protocol is left out
            if protocol in drivers.BUILT_IN:
                raise
            remarks.append(
                f"left out: protocol {protocol}: internal error in {drivers.whose(protocol)}: {error!r:.200}"
            )
    return protocols, remarks


def _document(protocols: list[str], definitions: Schema) -> Schema:
    return {
        "$schema": DIALECT,
        "title": "Nexus Edge: device files",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "templates": {
                "description": "Keys that devices take over, by the name of the template.",
                "type": ["object", "null"],
                "additionalProperties": _switch(protocols, is_device=False),
            },
            "devices": {
                "description": "The devices to poll.",
                "type": ["array", "null"],
                "items": _switch(protocols, is_device=True),
            },
        },
        "$defs": definitions,
    }


def _switch(protocols: list[str], *, is_device: bool) -> Schema:
    """A device or a template: what else it may hold is decided by its protocol."""
    common: Schema = {key: {"description": described.DEVICE[key], "type": "string"} for key in ("name", "protocol")}
    common["protocol"]["enum"] = protocols
    whole: Schema = {"type": "object", "properties": common}
    cases: list[Schema] = []
    for protocol in protocols:
        when = {"required": ["protocol"], "properties": {"protocol": {"const": protocol}}}
        then: Schema = {"$ref": f"#/$defs/{protocol}"}
        if is_device:
            # Without a template, no required key may be missing.
            alone = {"if": {"not": {"required": ["template"]}}, "then": {"$ref": f"#/$defs/{protocol}-whole"}}
            then = {"allOf": [then, alone]}
        cases.append({"if": when, "then": then})
    cases.append({"if": {"not": {"required": ["protocol"]}}, "then": {"$ref": "#/$defs/any"}})
    if is_device:
        whole["required"] = ["name"]
        cases.append({"anyOf": [{"required": ["protocol"]}, {"required": ["template"]}]})
    else:
        common["template"] = {"not": {}}
    return {**whole, "allOf": cases}


class _Made:
    """The schema's definitions, as they are built."""

    def __init__(self) -> None:
        self.definitions: Schema = {}

    def add_derived(self) -> None:
        """The keys of a derived tag."""
        keys = self._properties(DerivedKeys, described.DERIVED)
        keys["alarms"] = _listed("alarm", described.DERIVED["alarms"])
        self.definitions["derived-tag"] = {**_closed(keys, ["name"]), **_one_of(SOURCES)}

    def add_alarms(self) -> None:
        """The keys of an alarm of a tag, and of a device."""
        keys = self._properties(AlarmKeys, described.ALARM)
        of_tags = [key for key in CONDITIONS if key != "lost"]
        for name, conditions in (("alarm", of_tags), ("device-alarm", OF_DEVICES)):
            others = set(CONDITIONS) - set(conditions)
            own = {key: one for key, one in keys.items() if key not in others}
            self.definitions[name] = {**_closed(own, ["name"]), **_one_of(conditions)}

    def add_protocol(self, protocol: str) -> None:
        """The keys of a device, and of a tag, of this protocol."""
        driver = drivers.load(protocol)
        settings = driver.settings[protocol]
        own = self._properties(settings, described.OF_PROTOCOLS, f"{protocol}-")
        common = self._properties(DeviceKeys, described.DEVICE)
        common["protocol"] = {**common["protocol"], "const": protocol}
        common["tags"] = _tags(protocol)
        common["alarms"] = _listed("device-alarm", described.DEVICE["alarms"])
        tag = self._properties(TagKeys, described.TAG)
        tag["alarms"] = _listed("alarm", described.TAG["alarms"])
        tag["address"] = _with_remedy({**tag["address"], **_written(driver)})
        has_orders = set(_OF_ONE_FAMILY) <= set(settings.model_fields)
        self.definitions[f"{protocol}-tag"] = _closed(
            {key: one for key, one in tag.items() if has_orders or key not in _OF_ONE_FAMILY}, ["name", "address"]
        )
        self.definitions[protocol] = _closed({**common, **own}, [])
        needed = [name for name, field in settings.model_fields.items() if field.is_required()]
        self.definitions[f"{protocol}-whole"] = {"required": ["name", "protocol", "tags", *needed]}

    def add_any(self, protocols: list[str]) -> None:
        """The keys of a device or template whose protocol is not known yet: those of any protocol."""
        merged: dict[str, list[Schema]] = {}
        for protocol in protocols:
            for key, one in self.definitions[protocol]["properties"].items():
                if one not in (known := merged.setdefault(key, [])):
                    known.append(one)
        found = {key: some[0] if len(some) == 1 else {"anyOf": some} for key, some in merged.items()}
        found["protocol"] = {"type": "string"}
        tags = [{"$ref": f"#/$defs/{protocol}-tag"} for protocol in (*protocols, "derived")]
        found["tags"] = {**_tags(protocols[0]), "items": {"anyOf": tags}}
        self.definitions["any"] = _closed(found, [])

    def _properties(self, model: type[BaseModel], words: Mapping[str, str], prefix: str = "") -> Schema:
        whole = model.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
        for name, inner in whole.get("$defs", {}).items():
            of_inner = described.SECURITY if words is described.OF_PROTOCOLS else words
            properties = {key: _property(key, one, of_inner) for key, one in inner["properties"].items()}
            self.definitions[prefix + name] = _closed(properties, inner.get("required", []))
        return {key: _property(key, one, words) for key, one in whole["properties"].items()}


def _written(driver: Driver) -> Schema:
    """The schema of the protocol's addresses."""
    found: Schema = {} if driver.address_pattern is None else {"pattern": driver.address_pattern}
    return {**found, "examples": list(driver.address_examples)} if driver.address_examples else found


def _closed(properties: Schema, required: list[str]) -> Schema:
    found = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**found, "required": required} if required else found


def _tags(protocol: str) -> Schema:
    """A tag of the protocol, or a derived tag if it has one of the keys of those."""
    is_derived = {"anyOf": [{"required": [key]} for key in SOURCES]}
    kinds = {"then": {"$ref": "#/$defs/derived-tag"}, "else": {"$ref": f"#/$defs/{protocol}-tag"}}
    items = {"if": is_derived, **kinds}
    return {"description": described.DEVICE["tags"], "type": "array", "minItems": 1, "items": items}


def _listed(definition: str, description: str) -> Schema:
    return {"description": description, "type": "array", "items": {"$ref": f"#/$defs/{definition}"}}


def _one_of(keys: Sequence[str]) -> Schema:
    return {"oneOf": [{"required": [key]} for key in keys]}


def _property(key: str, one: Schema, words: Mapping[str, str]) -> Schema:
    """A key as editors show it: described, its default as it is written, and a variable where one may stand."""
    clean: Schema = _cleaned(one)
    default = clean.pop("default", None)
    if key in CONNECTING and not any(form.get("type") == "string" and "pattern" not in form for form in _forms(clean)):
        clean = {"anyOf": [clean, _VARIABLE]}
    if isinstance(default, float) and _is_duration(clean):
        clean["default"] = _duration(default)
    elif isinstance(default, int | float | str):
        clean["default"] = int(default) if isinstance(default, float) and default.is_integer() else default
    if key in words:
        clean.setdefault("description", words[key])
    return clean


def _cleaned(one: Any) -> Any:
    if isinstance(one, list):
        return [_cleaned(inner) for inner in one]
    if not isinstance(one, dict):
        return one
    clean = {key: _cleaned(inner) for key, inner in one.items() if key not in _NOT_OF_SCHEMA}
    return _with_remedy(clean)


def _with_remedy(one: Schema) -> Schema:
    """Adds the message that editors show instead of a pattern; others ignore these two keywords."""
    if "pattern" not in one or not (like := one.get("examples")):
        return one
    said = f"Write it like {', '.join(like)}."
    return {**one, "patternErrorMessage": said, "errorMessage": said}


def _is_duration(one: Schema) -> bool:
    return any(form.get("examples") == EXAMPLES for form in _forms(one))


def _forms(one: Schema) -> Iterator[Schema]:
    yield one
    yield from one.get("anyOf", [])


def _duration(seconds: float) -> str:
    for size, unit in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds * 1000:g}ms"
