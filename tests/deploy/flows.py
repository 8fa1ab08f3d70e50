"""Who may talk to whom, by the NetworkPolicies as they are rendered."""

from itertools import product
from typing import Any

from tests.deploy.policy import Pod, Resource, of_kind, pods

Flow = tuple[str, str, int]


def flows(resources: list[Resource]) -> set[Flow]:
    """Which of our pods may talk to which, on which port: where both sides' policies allow it."""
    made = pods(resources)
    policies = [one["spec"] for one in of_kind(resources, "NetworkPolicy")]

    def ports(pod: Pod, other: Pod, direction: str, peer: str) -> set[int]:
        mine = [spec for spec in policies if _selects(spec["podSelector"], pod)]
        return {
            port["port"]
            for spec in mine
            for rule in spec.get(direction, [])
            if any(
                "podSelector" in one and "namespaceSelector" not in one and _selects(one["podSelector"], other)
                for one in rule.get(peer, [])
            )
            for port in rule["ports"]
        }

    return {
        (source.name, target.name, port)
        for source, target in product(made, made)
        for port in ports(source, target, "egress", "to") & ports(target, source, "ingress", "from")
    }


def outside(resources: list[Resource]) -> set[tuple[str, str, int]]:
    """Policy, network or namespace, and port, of what goes to or comes from elsewhere."""
    found = set()
    for policy in of_kind(resources, "NetworkPolicy"):
        for direction, peer in (("egress", "to"), ("ingress", "from")):
            for rule in policy["spec"].get(direction, []):
                for one in rule.get(peer, [{}]):
                    if "ipBlock" in one or "namespaceSelector" in one or not one:
                        space = one.get("namespaceSelector", {}).get("matchLabels", {})
                        name = one.get("ipBlock", {}).get("cidr") or "".join(space.values()) or "anywhere"
                        found |= {
                            (policy["metadata"]["name"], f"{direction} {name}", port["port"]) for port in rule["ports"]
                        }
    return found


def _selects(selector: dict[str, Any], pod: Pod) -> bool:
    return bool(selector.get("matchLabels", {}).items() <= pod.labels.items())
