"""Templates in device files: keys and tags that devices take over."""

from nexus.config.block import Block, merged
from nexus.config.diagnostics import shown
from nexus.config.location import SourceLocation


class Templates:
    """The templates of all files, by name."""

    def __init__(self) -> None:
        self._found: dict[str, SourceLocation] = {}
        self._used: set[str] = set()

    def add(self, file: SourceLocation, listed: object) -> None:
        """Adds the templates of a file."""
        if not isinstance(listed, dict):
            file.fault("templates", "templates must be a mapping: name, then the keys that devices take from it")
            return
        for name, template in listed.items():
            if name in self._found:
                file.fault("templates", f"template {shown(name)} appears twice: rename one")
            elif not isinstance(template, Block):
                file.fault(
                    "templates", f"template {shown(name)} must be a mapping of the keys that devices take from it"
                )
            else:
                self._found[name] = SourceLocation(file.diagnostics, template, f"template {shown(name)}")
                _check(self._found[name])

    def completed(self, device: SourceLocation) -> SourceLocation | None:
        """The device's keys over the template's; its tags join the template's, or replace those of the same name."""
        raw = device.block
        if (name := raw.get("template")) is None:
            return device
        if (template := self._of(raw)) is None:
            known = ", ".join(self._found) or "none"
            device.fault("template", f"there is no template {shown(name)}; known: {known}")
            return None
        self._used.add(name)
        whole = merged(template, raw)
        base, own = template.get("tags"), raw.get("tags")
        if isinstance(base, list) and isinstance(own, list):
            replaced = {tag["name"] for tag in own if isinstance(tag, dict) and isinstance(tag.get("name"), str)}
            kept = [tag for tag in base if not (isinstance(tag, dict) and _is_one_of(tag.get("name"), replaced))]
            whole["tags"] = kept + own
        return SourceLocation(device.diagnostics, whole, device.label)

    def most_tags(self, device: Block) -> int:
        """How many tags the device has at most."""
        template = self._of(device)
        listed = [device.get("tags"), None if template is None else template.get("tags")]
        return sum(len(tags) for tags in listed if isinstance(tags, list))

    def warn_of_unused(self) -> None:
        """Warns of unused templates: their mistakes would go unnoticed."""
        for name, template in self._found.items():
            if name not in self._used:
                template.warn(None, "no device uses it, so its keys are not checked")

    def _of(self, device: Block) -> Block | None:
        name = device.get("template")
        return self._found[name].block if isinstance(name, str) and name in self._found else None


def _check(template: SourceLocation) -> None:
    if "template" in template.block:
        template.fault("template", "a template takes nothing from another one: write out its keys and tags here")
    if not isinstance(template.block.get("tags", []), list):
        template.fault("tags", "tags must be a list: each one starts with `- name:`")


def _is_one_of(name: object, names: set[str]) -> bool:
    return isinstance(name, str) and name in names
