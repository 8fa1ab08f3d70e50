"""A rule as people are told of it, on the topic on which gateways describe devices. Pure."""

from ingestion.rules.definition import Rule
from nexus.alarms.limits import limits
from nexus.contract.description import RULES, Description, TagDescription, encode_description

_BY = "nexus rules"


def describe(rule: Rule, group: str, now_ms: int) -> bytes:
    """The payload; what a tag is calculated by stands where those of devices have their address."""
    found = limits(rule.alarms)
    tags = tuple(
        TagDescription(
            tag.name,
            f"{tag.kind}: {tag.expression.text}",
            tag.unit,
            alarms=tuple(found[tag.name].fixed),
            limit_tags=tuple(found[tag.name].tags),
        )
        for tag in rule.derived
    )
    return encode_description(Description(rule.name, rule.path, RULES, _BY, "", 0.0, "tag", tags, now_ms, group=group))
