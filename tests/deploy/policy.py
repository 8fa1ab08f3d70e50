"""What must be true of the manifests, whatever else they say: `faults` names each thing that is not."""

import re
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

Resource = dict[str, Any]

MOVING_TAGS = {"", "latest", "stable", "main", "edge", "5", "latest-pg17", "pg17"}
SERVICES = {"Deployment", "StatefulSet"}
POD_NAME = "$(POD_NAME)"
SCALE_UP = [
    {"type": "Pods", "value": 2, "periodSeconds": 60},
    {"type": "Percent", "value": 100, "periodSeconds": 60},
]
SCALE_DOWN = [{"type": "Pods", "value": 1, "periodSeconds": 120}]
MOST_REPLICAS = {"gateway": 10, "ingestion": 8, "console": 4}


class Pod(NamedTuple):
    """The pods that a resource makes."""

    at: str
    kind: str
    name: str
    labels: dict[str, str]
    spec: dict[str, Any]
    owner: dict[str, Any]

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def at(resource: Resource) -> str:
    return f"{resource['kind']}/{resource['metadata']['name']}"


def pods(resources: list[Resource]) -> list[Pod]:
    found = []
    for resource in resources:
        spec = resource.get("spec", {})
        if resource["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if "template" in spec and "spec" in spec["template"]:
            template = spec["template"]
            labels = template["metadata"].get("labels", {})
            found.append(
                Pod(at(resource), resource["kind"], resource["metadata"]["name"], labels, template["spec"], spec)
            )
    return found


def faults(resources: list[Resource], given: dict[str, set[str]]) -> list[str]:
    """All that is wrong; `given` are Secrets from outside, with their keys."""
    return [
        fault
        for check in (_hardening, _sizes, _images, _probes, _services, _references, _volumes, _variables, _scaling)
        for fault in check(resources, given)
    ] + [fault for check in (_disruption, _labels, _policies) for fault in check(resources)]


def of_kind(resources: list[Resource], kind: str) -> list[Resource]:
    return [resource for resource in resources if resource["kind"] == kind]


def _hardening(resources: list[Resource], _: object) -> Iterator[str]:
    for pod in pods(resources):
        own = pod.spec.get("securityContext", {})
        if own.get("runAsNonRoot") is not True or not own.get("runAsUser"):
            yield f"{pod.at}: may run as root"
        if own.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{pod.at}: no seccomp profile"
        if pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.at}: has a token for the API server"
        for container in pod.containers:
            context = container.get("securityContext", {})
            where = f"{pod.at}, {container['name']}"
            if context.get("readOnlyRootFilesystem") is not True:
                yield f"{where}: its root file system can be written to"
            if context.get("allowPrivilegeEscalation") is not False:
                yield f"{where}: may gain privileges"
            if context.get("capabilities", {}).get("drop") != ["ALL"] or context.get("capabilities", {}).get("add"):
                yield f"{where}: has capabilities"
            if context.get("privileged") or "runAsUser" in context:
                yield f"{where}: overrides the pod's user"


def _sizes(resources: list[Resource], _: object) -> Iterator[str]:
    for pod in pods(resources):
        for container in pod.containers:
            sizes = container.get("resources", {})
            for wanted in ("cpu", "memory"):
                if wanted not in sizes.get("requests", {}):
                    yield f"{pod.at}, {container['name']}: no request for {wanted}"
            if "memory" not in sizes.get("limits", {}):
                yield f"{pod.at}, {container['name']}: no memory limit"


def _images(resources: list[Resource], _: object) -> Iterator[str]:
    for pod in pods(resources):
        for container in pod.containers:
            image = container["image"]
            tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
            if "@sha256:" not in image and tag in MOVING_TAGS:
                yield f"{pod.at}, {container['name']}: image {image} is not pinned"


def _probes(resources: list[Resource], _: object) -> Iterator[str]:
    for pod in pods(resources):
        if pod.kind not in SERVICES:
            continue
        for container in pod.spec["containers"]:
            ports = {port.get("name") for port in container.get("ports", [])}
            ports |= {port["containerPort"] for port in container.get("ports", [])}
            for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
                probe = container.get(kind)
                if probe is None:
                    yield f"{pod.at}: no {kind}"
                    continue
                port = (probe.get("httpGet") or probe.get("tcpSocket") or {}).get("port")
                if port is not None and port not in ports:
                    yield f"{pod.at}: {kind} asks port {port}, which the container has not"
            if container.get("livenessProbe", {}).get("httpGet", {}).get("path") == "/ready":
                yield f"{pod.at}: its liveness depends on broker or database"


def _services(resources: list[Resource], _: object) -> Iterator[str]:
    made = [pod for pod in pods(resources) if pod.kind in SERVICES]
    for service in of_kind(resources, "Service"):
        selector = service["spec"]["selector"]
        chosen = [pod for pod in made if selector.items() <= pod.labels.items()]
        if not chosen:
            yield f"{at(service)}: selects no pod"
        for pod, port in product(chosen, service["spec"]["ports"]):
            names = {one["name"] for container in pod.spec["containers"] for one in container.get("ports", [])}
            if port["targetPort"] not in names:
                yield f"{at(service)}: {pod.at} has no port {port['targetPort']}"
    headless = {one["metadata"]["name"] for one in of_kind(resources, "Service")}
    for pod in made:
        if pod.owner["selector"]["matchLabels"].items() - pod.labels.items():
            yield f"{pod.at}: does not select its own pods"
        if pod.kind == "StatefulSet" and pod.owner["serviceName"] not in headless:
            yield f"{pod.at}: there is no Service {pod.owner['serviceName']}"


def _references(resources: list[Resource], given: dict[str, set[str]]) -> Iterator[str]:
    maps = {one["metadata"]["name"]: set(one.get("data", {})) for one in of_kind(resources, "ConfigMap")}
    secrets = given | {
        one["metadata"]["name"]: set(one.get("data", {})) | set(one.get("stringData", {}))
        for one in of_kind(resources, "Secret")
    }
    for certificate in of_kind(resources, "Certificate"):
        secrets[certificate["spec"]["secretName"]] = {"tls.crt", "tls.key", "ca.crt"}
    claims = {one["metadata"]["name"] for one in of_kind(resources, "PersistentVolumeClaim")}
    for pod in pods(resources):
        for kind, name, keys, optional in _named(pod):
            known = {"ConfigMap": maps, "Secret": secrets}.get(kind, {name: set[str]() for name in claims})
            if optional:
                continue
            if name not in known:
                yield f"{pod.at}: there is no {kind} {name}"
            elif missing := keys - known[name]:
                yield f"{pod.at}: {kind} {name} has no {', '.join(sorted(missing))}"


def _named(pod: Pod) -> Iterator[tuple[str, str, set[str], bool]]:
    """ConfigMaps, Secrets and claims that a pod names, with the keys that it needs of them."""
    mounts = [mount for container in pod.containers for mount in container.get("volumeMounts", [])]
    for volume in pod.spec.get("volumes", []):
        parts = {part for mount in mounts if mount["name"] == volume["name"] for part in _parts(pod, mount)}
        if source := volume.get("configMap"):
            yield "ConfigMap", source["name"], parts, source.get("optional", False)
        if source := volume.get("secret"):
            keys = parts | {item["key"] for item in source.get("items", [])}
            yield "Secret", source["secretName"], keys, source.get("optional", False)
        if source := volume.get("persistentVolumeClaim"):
            yield "PersistentVolumeClaim", source["claimName"], set(), False
    yield from _named_by_variables(pod)


def _named_by_variables(pod: Pod) -> Iterator[tuple[str, str, set[str], bool]]:
    for container in pod.containers:
        for source in container.get("envFrom", []):
            for kind in ("ConfigMap", "Secret"):
                if reference := source.get(f"{kind[0].lower()}{kind[1:]}Ref"):
                    yield kind, reference["name"], set(), False
        for variable in container.get("env", []):
            if source := variable.get("valueFrom", {}).get("secretKeyRef"):
                yield "Secret", source["name"], {source["key"]}, False


def _parts(pod: Pod, mount: dict[str, Any]) -> set[str]:
    """The keys that a mount takes of its volume; one a pod where it goes by the pod's name."""
    if mount.get("subPathExpr") == POD_NAME:
        return {f"{pod.name}-{number}" for number in range(MOST_REPLICAS[pod.name])}
    return {mount["subPath"]} if "subPath" in mount else set()


def _volumes(resources: list[Resource], _: object) -> Iterator[str]:
    for pod in pods(resources):
        there = {volume["name"] for volume in pod.spec.get("volumes", [])}
        there |= {claim["metadata"]["name"] for claim in pod.owner.get("volumeClaimTemplates", [])}
        used = {mount["name"] for container in pod.containers for mount in container.get("volumeMounts", [])}
        for name in sorted(used - there):
            yield f"{pod.at}: mounts {name}, which is no volume of its"
        for name in sorted(there - used):
            yield f"{pod.at}: volume {name} is mounted nowhere"
        for container in pod.containers:
            for mount in container.get("volumeMounts", []):
                if mount["name"] == "devices" and "subPath" in mount:
                    yield f"{pod.at}: a subPath of the devices would never reload"


def _variables(resources: list[Resource], _: object) -> Iterator[str]:
    for pod in pods(resources):
        for container in pod.containers:
            before: set[str] = set()
            for variable in container.get("env", []):
                for name in re.findall(r"\$\((\w+)\)", variable.get("value", "")):
                    if name not in before:
                        yield f"{pod.at}: {variable['name']} uses {name}, which is not set before it"
                before.add(variable["name"])


def _scaling(resources: list[Resource], _: object) -> Iterator[str]:
    targets = {(pod.kind, pod.name): pod for pod in pods(resources)}
    for scaler in of_kind(resources, "HorizontalPodAutoscaler"):
        spec, name = scaler["spec"], scaler["spec"]["scaleTargetRef"]["name"]
        target = targets.get((spec["scaleTargetRef"]["kind"], name))
        if target is None:
            yield f"{at(scaler)}: there is no {spec['scaleTargetRef']['kind']} {name}"
            continue
        if "replicas" in target.owner:
            yield f"{target.at}: its replicas would undo the autoscaler's work"
        if (spec["minReplicas"], spec["maxReplicas"]) != (2, MOST_REPLICAS[name]):
            yield f"{at(scaler)}: scales from {spec['minReplicas']} to {spec['maxReplicas']}"
        wanted = {one["resource"]["name"]: one["resource"]["target"]["averageUtilization"] for one in spec["metrics"]}
        if wanted != {"cpu": 70, "memory": 80}:
            yield f"{at(scaler)}: scales at {wanted}"
        up, down = spec["behavior"]["scaleUp"], spec["behavior"]["scaleDown"]
        if (up["stabilizationWindowSeconds"], up["selectPolicy"], up["policies"]) != (0, "Max", SCALE_UP):
            yield f"{at(scaler)}: scales up otherwise than it should"
        if (down["stabilizationWindowSeconds"], down["policies"]) != (300, SCALE_DOWN):
            yield f"{at(scaler)}: scales down otherwise than it should"
        if not target.spec.get("topologySpreadConstraints"):
            yield f"{target.at}: nothing spreads it over the nodes"


def _disruption(resources: list[Resource]) -> Iterator[str]:
    budgets = of_kind(resources, "PodDisruptionBudget")
    for pod in pods(resources):
        mine = [one["spec"] for one in budgets if one["spec"]["selector"]["matchLabels"].items() <= pod.labels.items()]
        if pod.name in {"gateway", "ingestion", "rules", "console", "emqx", "timescaledb"} and len(mine) != 1:
            yield f"{pod.at}: has {len(mine)} disruption budgets"
        if any(one.get("maxUnavailable") != 1 or "minAvailable" in one for one in mine):
            yield f"{pod.at}: its disruption budget could block the draining of a node"


def _labels(resources: list[Resource]) -> Iterator[str]:
    namespaces = {one["metadata"].get("namespace") for one in resources if one["kind"] != "Namespace"}
    if namespaces != {"nexus"}:
        yield f"resources in namespaces {sorted(map(str, namespaces))}"
    for resource in resources:
        if resource["metadata"].get("labels", {}).get("app.kubernetes.io/part-of") != "nexus":
            yield f"{at(resource)}: is not labelled as a part of nexus"
    for pod in pods(resources):
        if not {"app.kubernetes.io/name", "app.kubernetes.io/part-of"} <= pod.labels.keys():
            yield f"{pod.at}: its pods have no app.kubernetes.io labels"


def _policies(resources: list[Resource]) -> Iterator[str]:
    policies = {one["metadata"]["name"]: one["spec"] for one in of_kind(resources, "NetworkPolicy")}
    denying = policies.get("default-deny")
    if denying != {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}:
        yield "NetworkPolicy/default-deny: does not deny by default"
    for name, spec in policies.items():
        for rule in [*spec.get("ingress", []), *spec.get("egress", [])]:
            if not rule.get("ports"):
                yield f"NetworkPolicy/{name}: a rule for all ports"
        for rule in spec.get("egress", []):
            if any(peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0" for peer in rule.get("to", [])):
                yield f"NetworkPolicy/{name}: to the whole world"
