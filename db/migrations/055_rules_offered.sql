-- Once receipts were offered to rules they are awaited, whoever is active and whatever the broker has lost.
ALTER TABLE rule_publishers ADD COLUMN offered boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN rule_publishers.offered IS 'Whether ingesters ever offered receipts, with `NEXUS_RECEIPTS=auto`';
