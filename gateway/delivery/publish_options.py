"""How a device's readings are published."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from nexus.contract import topic


@dataclass(frozen=True)
class PublishOptions:
    """The device's path, a message per tag or per scan, and the tags' units. Topics are built once."""

    path: str
    publish: Literal["tag", "device"]
    units: Mapping[str, str]
    topic: str = field(init=False, repr=False, compare=False)
    topics: dict[str, str] = field(init=False, repr=False, compare=False, default_factory=dict)  # by tag

    def __post_init__(self) -> None:
        object.__setattr__(self, "topic", topic.device(self.path))

    def tag(self, name: str) -> str:
        """The topic of a tag."""
        self.topics[name] = found = topic.tag(self.path, name)
        return found
