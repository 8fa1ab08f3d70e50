"""What checks the manifests finds what is broken: each copy here is spoilt in one place."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.deploy.flows import flows
from tests.deploy.policy import Resource, at, faults, of_kind
from tests.deploy.test_manifests import FOLDER, given, rendered, validated

Break = Callable[[dict[str, Resource]], Any]


def _pod(resources: dict[str, Resource], name: str) -> dict[str, Any]:
    return resources[name]["spec"]["template"]["spec"]  # type: ignore[no-any-return]


def _container(resources: dict[str, Resource], name: str) -> dict[str, Any]:
    return _pod(resources, name)["containers"][0]  # type: ignore[no-any-return]


def _variable(resources: dict[str, Resource], name: str, variable: str) -> dict[str, Any]:
    [found] = [one for one in _container(resources, name)["env"] if one["name"] == variable]
    return found  # type: ignore[no-any-return]


GATEWAY, INGESTION, EMQX, DATABASE = (
    "StatefulSet/gateway",
    "Deployment/ingestion",
    "StatefulSet/emqx",
    "StatefulSet/timescaledb",
)
BROKEN: dict[str, tuple[Break, str]] = {
    "root": (lambda r: _pod(r, GATEWAY)["securityContext"].pop("runAsNonRoot"), "may run as root"),
    "seccomp": (lambda r: _pod(r, EMQX)["securityContext"].pop("seccompProfile"), "no seccomp profile"),
    "token": (lambda r: _pod(r, INGESTION).pop("automountServiceAccountToken"), "token for the API server"),
    "writable": (
        lambda r: _container(r, GATEWAY)["securityContext"].pop("readOnlyRootFilesystem"),
        "can be written to",
    ),
    "escalation": (lambda r: _container(r, EMQX)["securityContext"].pop("allowPrivilegeEscalation"), "gain privileges"),
    "capabilities": (
        lambda r: _container(r, DATABASE)["securityContext"]["capabilities"].update(add=["SYS_ADMIN"]),
        "has capabilities",
    ),
    "user": (lambda r: _container(r, GATEWAY)["securityContext"].update(runAsUser=0), "overrides the pod's user"),
    "request": (lambda r: _container(r, GATEWAY)["resources"]["requests"].pop("cpu"), "no request for cpu"),
    "limit": (lambda r: _container(r, EMQX)["resources"].pop("limits"), "no memory limit"),
    "latest": (lambda r: _container(r, EMQX).update(image="emqx/emqx:latest"), "is not pinned"),
    "untagged": (lambda r: _container(r, GATEWAY).update(image="host:5000/nexus-edge"), "is not pinned"),
    "probe": (lambda r: _container(r, GATEWAY).pop("startupProbe"), "no startupProbe"),
    "probe's port": (
        lambda r: _container(r, GATEWAY)["livenessProbe"]["httpGet"].update(port="healthy"),
        "asks port healthy",
    ),
    "liveness": (
        lambda r: _container(r, INGESTION)["livenessProbe"]["httpGet"].update(path="/ready"),
        "its liveness depends on",
    ),
    "selector": (lambda r: r["Service/gateway"]["spec"]["selector"].update(x="y"), "selects no pod"),
    "target port": (lambda r: r["Service/emqx"]["spec"]["ports"][0].update(targetPort="mqtts"), "has no port mqtts"),
    "own pods": (lambda r: r[GATEWAY]["spec"]["selector"]["matchLabels"].update(x="y"), "not select its own pods"),
    "headless": (lambda r: r[EMQX]["spec"].update(serviceName="emqx-nodes"), "no Service emqx-nodes"),
    "map": (lambda r: _container(r, GATEWAY)["envFrom"][0]["configMapRef"].update(name="x"), "there is no ConfigMap x"),
    "map's key": (lambda r: _container(r, EMQX)["volumeMounts"][-1].update(subPath="x.conf"), "has no x.conf"),
    "secret": (
        lambda r: _variable(r, INGESTION, "DATABASE_PASSWORD")["valueFrom"]["secretKeyRef"].update(name="x"),
        "there is no Secret x",
    ),
    "secret's key": (
        lambda r: _variable(r, INGESTION, "DATABASE_PASSWORD")["valueFrom"]["secretKeyRef"].update(key="x"),
        "Secret database has no x",
    ),
    "all of a secret": (
        lambda r: _pod(r, EMQX)["initContainers"][0]["envFrom"][1]["secretRef"].update(name="x"),
        "there is no Secret x",
    ),
    "a pod's own key": (
        lambda r: _pod(r, GATEWAY)["volumes"][1]["secret"].update(secretName="mqtt-users"),
        "Secret mqtt-users has no gateway-0, gateway-1",
    ),
    "claim": (
        lambda r: r.pop("PersistentVolumeClaim/backups"),
        "there is no PersistentVolumeClaim backups",
    ),
    "volume": (lambda r: _pod(r, GATEWAY)["volumes"].pop(), "which is no volume"),
    "idle volume": (lambda r: _container(r, GATEWAY)["volumeMounts"].pop(), "is mounted nowhere"),
    "subPath": (lambda r: _container(r, GATEWAY)["volumeMounts"][0].update(subPath="plant.yaml"), "would never reload"),
    "order": (lambda r: _container(r, GATEWAY)["env"].reverse(), "which is not set before it"),
    "replicas": (lambda r: r[GATEWAY]["spec"].update(replicas=2), "would undo the autoscaler's work"),
    "target": (
        lambda r: r["HorizontalPodAutoscaler/gateway"]["spec"]["scaleTargetRef"].update(name="x"),
        "there is no StatefulSet x",
    ),
    "bounds": (lambda r: r["HorizontalPodAutoscaler/ingestion"]["spec"].update(maxReplicas=9), "scales from 2 to 9"),
    "utilization": (
        lambda r: r["HorizontalPodAutoscaler/gateway"]["spec"]["metrics"].pop(),
        "scales at {'cpu': 70}",
    ),
    "up": (
        lambda r: r["HorizontalPodAutoscaler/gateway"]["spec"]["behavior"]["scaleUp"]["policies"].pop(),
        "scales up otherwise",
    ),
    "down": (
        lambda r: r["HorizontalPodAutoscaler/gateway"]["spec"]["behavior"]["scaleDown"].update(
            stabilizationWindowSeconds=0
        ),
        "scales down otherwise",
    ),
    "spread": (lambda r: _pod(r, INGESTION).pop("topologySpreadConstraints"), "nothing spreads it"),
    "budget": (lambda r: r.pop("PodDisruptionBudget/emqx"), "has 0 disruption budgets"),
    "blocking": (
        lambda r: r["PodDisruptionBudget/timescaledb"]["spec"].update(minAvailable=1),
        "could block the draining",
    ),
    "namespace": (lambda r: r["Service/emqx"]["metadata"].update(namespace="default"), "resources in namespaces"),
    "labels": (
        lambda r: r["Job/migrate"]["spec"]["template"]["metadata"]["labels"].pop("app.kubernetes.io/name"),
        "no app.kubernetes.io labels",
    ),
    "part": (lambda r: r["Service/emqx"]["metadata"].pop("labels"), "not labelled as a part"),
    "deny": (lambda r: r.pop("NetworkPolicy/default-deny"), "does not deny by default"),
    "all ports": (lambda r: r["NetworkPolicy/emqx"]["spec"]["ingress"][0].pop("ports"), "a rule for all ports"),
    "world": (
        lambda r: r["NetworkPolicy/gateway"]["spec"]["egress"][1].update(to=[{"ipBlock": {"cidr": "0.0.0.0/0"}}]),
        "to the whole world",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_found(name: str) -> None:
    spoil, said = BROKEN[name]
    resources = {at(one): one for one in copy.deepcopy(rendered(str(FOLDER / "overlays/prod")))}
    spoil(resources)
    assert [fault for fault in faults(list(resources.values()), given()) if said in fault], "it was not noticed"


@pytest.mark.parametrize("rule", ["ingress", "egress"])
def test_a_missing_rule_is_a_missing_flow(rule: str) -> None:
    resources = {at(one): one for one in copy.deepcopy(rendered(str(FOLDER / "overlays/prod")))}
    name = "timescaledb" if rule == "ingress" else "ingestion"
    resources[f"NetworkPolicy/{name}"]["spec"][rule].pop()
    assert ("ingestion", "timescaledb", 5432) not in flows(list(resources.values()))


def test_a_typing_error_is_invalid() -> None:
    resources = copy.deepcopy(rendered(str(FOLDER / "overlays/prod")))
    [scaler, *_] = of_kind(resources, "HorizontalPodAutoscaler")
    scaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilisation"] = 70
    assert validated(resources, None).returncode != 0
