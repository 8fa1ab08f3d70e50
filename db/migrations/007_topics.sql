-- Which topics there are, and the last value of each: a look into the index a topic, not a scan.
CREATE TABLE topics (
    topic text        PRIMARY KEY,
    since timestamptz NOT NULL DEFAULT now()
);

INSERT INTO topics (topic) SELECT DISTINCT topic FROM metrics;

CREATE VIEW metrics_latest AS
SELECT topics.topic, last.time, last.value, last.value_str, last.quality, last.unit
FROM topics
CROSS JOIN LATERAL (
    SELECT time, value, value_str, quality, unit
    FROM metrics
    WHERE metrics.topic = topics.topic
    ORDER BY time DESC
    LIMIT 1
) AS last;

COMMENT ON TABLE topics IS 'Every topic that has ever been stored';
COMMENT ON VIEW metrics_latest IS 'The newest row of each topic';

GRANT INSERT ON topics TO nexus_writer;
GRANT SELECT ON topics, metrics_latest TO nexus_reader;
