-- A topic that no index entry has room for would stop merging for good; the ingester sends none.
WITH gone AS (
    DELETE FROM metrics_late WHERE octet_length(topic) > 2000 RETURNING time, topic, value, value_str, quality
)
INSERT INTO rejects (topic, payload, reason, tags)
SELECT topic,
       convert_to(jsonb_build_object('ts', round(extract(epoch FROM time) * 1000)::bigint, 'q', quality,
                                     'v', coalesce(to_jsonb(value_str), to_jsonb(value)))::text, 'UTF8'),
       'the topic is longer than 2,000 bytes, more than the index can hold', '{}'
FROM gone;
ALTER TABLE metrics_late ADD CHECK (octet_length(topic) <= 2000);
