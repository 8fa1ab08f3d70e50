"""`make monitoring` writes the generated files: dashboards, and the rules in Kubernetes' format."""

from pathlib import Path

import yaml

from infrastructure.monitoring import dashboards

HERE = Path(__file__).parent
RULES = HERE / "rules/nexus.yml"


def generated() -> dict[Path, str]:
    """Files and their contents."""
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "nexus", "labels": {"app.kubernetes.io/part-of": "nexus"}},
        "spec": yaml.safe_load(RULES.read_text(encoding="utf-8")),
    }
    head = f"# Generated from {RULES.name} by `make monitoring`.\n"
    text = yaml.safe_dump(resource, sort_keys=False, width=120, allow_unicode=True)
    return {
        **{HERE / "grafana/dashboards" / name: board for name, board in dashboards.written().items()},
        HERE.parent / "k8s/components/monitoring/rules.yaml": head + text,
    }


if __name__ == "__main__":
    for file, content in generated().items():
        file.write_text(content, encoding="utf-8")
