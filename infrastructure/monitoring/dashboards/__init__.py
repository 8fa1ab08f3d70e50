"""The Grafana dashboards, as code: `make monitoring` writes them to grafana/dashboards, which Grafana provisions."""

import json

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from infrastructure.monitoring.dashboards.alarms import alarms
from infrastructure.monitoring.dashboards.plant import device, plant
from infrastructure.monitoring.dashboards.services import console, infrastructure, ingestion


def written() -> dict[str, str]:
    """The files' names and contents."""
    boards = {
        "plant": plant(),
        "device": device(),
        "alarms": alarms(),
        "ingestion": ingestion(),
        "console": console(),
        "infrastructure": infrastructure(),
    }
    return {
        f"{name}.json": json.dumps(board, cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        for name, board in boards.items()
    }
