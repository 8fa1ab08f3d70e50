"""Messages as the broker delivers them."""

from typing import Any

from ingestion.consume.batch import Delivery
from nexus.process.clock import now_ms


def delivery(
    topic: str, payload: bytes, packet_id: int | None = None, acknowledged: Any = None, **more: int
) -> Delivery:
    """One that arrived now, unless `more` says otherwise; its packet id goes to the list `acknowledged`."""

    def acknowledge(*packet_ids: int | None) -> None:
        if acknowledged is not None:
            acknowledged.extend(packet_ids)

    return Delivery(topic, payload, packet_id, acknowledge, **{"arrived": now_ms(), **more})
