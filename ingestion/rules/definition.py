"""What a rule file says: inputs from several devices, and the derived tags and alarms that are made of them."""

from dataclasses import dataclass

from nexus.alarms.definition import AlarmDefinition
from nexus.contract import topic
from nexus.readings.definition import DerivedTag


@dataclass(frozen=True, slots=True)
class Input:
    """`name` in expressions; `source` is device path and tag; bad after `stale` seconds without a value."""

    name: str
    source: str
    stale: float | None = None

    @property
    def topic(self) -> str:
        """On which its values come by themselves."""
        return topic.device(self.source)

    @property
    def device_topic(self) -> str:
        """On which they come together with others of their device."""
        return topic.device(self.source.rpartition("/")[0])

    @property
    def tag(self) -> str:
        """Its name in its device."""
        return self.source.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Rule:
    """A virtual device: derived tags in the order in which they are calculated, and alarms; `path` is below `dev/`."""

    name: str
    path: str
    inputs: tuple[Input, ...]
    derived: tuple[DerivedTag, ...] = ()
    alarms: tuple[AlarmDefinition, ...] = ()

    @property
    def units(self) -> dict[str, str]:
        """Those of its derived tags that have one."""
        return {tag.name: tag.unit for tag in self.derived if tag.unit}
