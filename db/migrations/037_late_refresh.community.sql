-- Each topic and day that late rows went into, until its rollups are computed again: whole hours, from its first to its last.
CREATE TABLE late_hours (
    topic text NOT NULL,
    first timestamptz NOT NULL,
    after timestamptz NOT NULL
);
INSERT INTO late_hours
SELECT DISTINCT metrics.topic, time_bucket('1 hour', metrics.time), time_bucket('1 hour', metrics.time) + INTERVAL '1 hour'
FROM late_ranges JOIN metrics ON metrics.time >= late_ranges.first AND metrics.time < late_ranges.after;
DROP TABLE late_ranges;

-- Moves late rows of a range of time to where they belong. Of what is there already, only another value is of interest.
-- Gives false where something is in the way: then with fewer rows, down to one, which is set aside if it is that row.
CREATE OR REPLACE FUNCTION bring_home(start timestamptz, stop timestamptz, most int) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    others metrics[];
    -- Once: another query may choose other rows, and the one that failed is the one to set aside.
    chosen CONSTANT tid[] := ARRAY(SELECT ctid FROM metrics_late WHERE time >= start AND time < stop LIMIT most);
BEGIN
    WITH moved AS (
        DELETE FROM metrics_late WHERE ctid = ANY (chosen) RETURNING time, topic, value, value_str, quality, unit
    ), stored AS (
        INSERT INTO metrics (time, topic, value, value_str, quality, unit)
        SELECT time, topic, value, value_str, quality, unit FROM moved
        ORDER BY topic, time
        ON CONFLICT DO NOTHING
        RETURNING time, topic, value, value_str, quality, unit
    ), touched AS (
        INSERT INTO late_hours
        SELECT topic, time_bucket('1 hour', min(time)), time_bucket('1 hour', max(time)) + INTERVAL '1 hour'
        FROM stored GROUP BY topic
    )
    SELECT array_agg(ROW(time, topic, value, value_str, quality, unit)::metrics) INTO others
    FROM (TABLE moved EXCEPT TABLE stored) AS others;
    IF others IS NOT NULL THEN
        PERFORM set_conflicts_aside(others);
    END IF;
    RETURN true;
EXCEPTION WHEN OTHERS THEN
    IF most > 1 THEN
        RETURN false;
    END IF;
    -- Data, constraints, limits and triggers; anything else is not the row's fault.
    IF left(SQLSTATE, 2) NOT IN ('22', '23', '54') AND SQLSTATE NOT IN ('P0001', 'XX000') THEN
        RAISE;
    END IF;
    RETURN set_refused_aside(chosen[1], SQLERRM);
END
$$;

-- Computes buckets of some topics again, where TimescaleDB's own refresh would compute those of all topics: it reads what
-- they read, a thousandth of it where one tag of a thousand was late. The lock keeps policies from writing the same buckets.
CREATE FUNCTION refresh_topics(aggregate name, topics text[], first timestamptz, after timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    materialized text;
    computed text;
    buckets CONSTANT text := format('topic = ANY ($1) AND bucket >= %L AND bucket < %L', first, after);
BEGIN
    SELECT format('%I.%I', h.schema_name, h.table_name), format('%I.%I', c.partial_view_schema, c.partial_view_name)
    INTO STRICT materialized, computed
    FROM _timescaledb_catalog.continuous_agg c JOIN _timescaledb_catalog.hypertable h ON h.id = c.mat_hypertable_id
    WHERE c.user_view_schema = current_schema() AND c.user_view_name = aggregate;
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', materialized);
    EXECUTE format('DELETE FROM %s WHERE %s', materialized, buckets) USING topics;
    EXECUTE format('INSERT INTO %s SELECT * FROM %s WHERE %s', materialized, computed, buckets) USING topics;
END
$$;

-- Moves late rows to where they belong, a day a transaction, and computes the rollups of what they touched. Times are cut
-- by UTC, as the aggregates are, whatever the time zone of the server. Ranges with a refused row that has to wait are
-- passed over: they stay, and the job fails at its end.
CREATE OR REPLACE PROCEDURE merge_late(job_id int DEFAULT NULL, config jsonb DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
    most int := 50000;
    -- From here on a policy refreshes all topics again, from a transaction's first row to its last.
    refreshed_from CONSTANT timestamptz := (
        SELECT now() - (j.config->>'start_offset')::interval
        FROM timescaledb_information.jobs j JOIN timescaledb_information.continuous_aggregates c
          ON j.hypertable_name IN (c.view_name, c.materialization_hypertable_name)
        WHERE j.proc_name = 'policy_refresh_continuous_aggregate' AND c.view_name = 'metrics_1min');
    start timestamptz;
    stop timestamptz;
    passed timestamptz := '-infinity';
    waiting timestamptz;
    part record;
BEGIN
    LOOP
        SELECT min(time) INTO start FROM metrics_late WHERE time >= passed;
        EXIT WHEN start IS NULL;
        stop := time_bucket('1 day', start) + INTERVAL '24 hours';
        IF stop > refreshed_from THEN
            stop := time_bucket('1 minute', start) + INTERVAL '1 minute';
        END IF;
        IF bring_home(start, stop, most) THEN
            most := least(50000, most * 4);
        ELSIF most > 1 THEN
            most := greatest(1, most / 8);
        ELSE
            waiting := coalesce(waiting, start);
            passed := stop;
        END IF;
        COMMIT;
    END LOOP;

    -- What retention has dropped cannot be computed again: older days stay as they are.
    DELETE FROM late_hours WHERE time_bucket('1 day', first) + INTERVAL '24 hours' <= kept_from();
    COMMIT;

    -- Topics that were away for the same hours, such as a gateway's, are computed together.
    FOR part IN
        SELECT day, first, after, array_agg(topic) AS topics FROM (
            SELECT topic, time_bucket('1 day', first) AS day, min(first) AS first, max(after) AS after
            FROM late_hours GROUP BY 1, 2
        ) AS touched
        GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    LOOP
        PERFORM refresh_topics('metrics_1min', part.topics, part.first, part.after);
        PERFORM refresh_topics('metrics_1hour', part.topics, part.first, part.after);
        PERFORM refresh_topics('metrics_1day', part.topics, part.day, part.day + INTERVAL '24 hours');
        DELETE FROM late_hours
        WHERE first >= part.first AND after <= part.after AND topic = ANY (part.topics);
        COMMIT;
    END LOOP;
    IF waiting IS NOT NULL THEN
        RAISE EXCEPTION 'the database refuses more than 100,000 late rows a day: some of % and later wait in metrics_late',
            waiting USING HINT = 'Why it refuses them: nexus rejects list --reason "the database refused the late row"';
    END IF;
END
$$;
REVOKE EXECUTE ON FUNCTION refresh_topics FROM PUBLIC;
