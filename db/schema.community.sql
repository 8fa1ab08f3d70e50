-- What `nexus db migrate` makes of an empty database on the tier "community". To be read, not run: `make schema` writes it
-- from db/migrations; a comment above an object names the last migration that defines it.

-- Tables

-- 046_alarm_events.sql
-- What happened to alarms, an event a row. Gateways say it, ingestion stores it, each event once; nobody changes it.
CREATE TABLE alarm_events (
    time timestamp with time zone NOT NULL,
    topic text NOT NULL,
    device text NOT NULL,
    tag text NOT NULL,
    name text NOT NULL,
    occurrence timestamp with time zone NOT NULL,
    state text NOT NULL,
    since timestamp with time zone NOT NULL,
    event text NOT NULL,
    active boolean NOT NULL,
    acknowledged boolean NOT NULL,
    value double precision,
    value_str text,
    limit double precision,
    unit text,
    priority text NOT NULL,
    text text NOT NULL,
    response text NOT NULL,
    by text,
    reason text NOT NULL,
    until timestamp with time zone,
    PRIMARY KEY (topic, occurrence, state, "time")
);
CREATE INDEX alarm_events_time ON alarm_events ("time");
CREATE TRIGGER keep_alarm_states AFTER INSERT ON alarm_events REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION keep_alarm_states();
CREATE TRIGGER queue_notifications AFTER INSERT ON alarm_events REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION queue_notifications();
COMMENT ON COLUMN alarm_events.topic IS 'alarm/{device path}/{tag}/{name}, without the tag for an alarm of the device itself';
COMMENT ON COLUMN alarm_events.occurrence IS 'When the alarm was raised: with the topic, the key of an occurrence';
COMMENT ON COLUMN alarm_events.state IS 'After the event: normal, unacknowledged, acknowledged, returned, latched, shelved, suppressed or out-of-service';
COMMENT ON COLUMN alarm_events.since IS 'Since when the alarm is in this state';
COMMENT ON COLUMN alarm_events.active IS 'Whether the condition holds, whatever hides the alarm';
COMMENT ON COLUMN alarm_events.limit IS 'The limit that was crossed';
COMMENT ON COLUMN alarm_events.by IS 'Who acknowledged, shelved or otherwise changed the alarm';
COMMENT ON COLUMN alarm_events.until IS 'When the shelving ends';
COMMENT ON TABLE alarm_events IS 'The journal of alarms: one row an event, kept for NEXUS_RETENTION_ALARMS';
GRANT SELECT ON alarm_events TO nexus_reader;
GRANT INSERT ON alarm_events TO nexus_writer;

-- 046_alarm_events.sql
-- To find an alarm's last event among millions would need another index on all of them; so it is kept, by the insert
-- itself, whoever inserts. That of an alarm that stands stays here when retention takes its events.
CREATE TABLE alarm_states (
    time timestamp with time zone NOT NULL,
    topic text NOT NULL,
    device text NOT NULL,
    tag text NOT NULL,
    name text NOT NULL,
    occurrence timestamp with time zone NOT NULL,
    state text NOT NULL,
    since timestamp with time zone NOT NULL,
    event text NOT NULL,
    active boolean NOT NULL,
    acknowledged boolean NOT NULL,
    value double precision,
    value_str text,
    limit double precision,
    unit text,
    priority text NOT NULL,
    text text NOT NULL,
    response text NOT NULL,
    by text,
    reason text NOT NULL,
    until timestamp with time zone,
    PRIMARY KEY (topic)
);
COMMENT ON TABLE alarm_states IS 'The last event of each alarm';
GRANT SELECT ON alarm_states TO nexus_reader;

-- 041_annotations.sql
-- What people write beside the readings. Nobody changes it: a correction is another annotation.
CREATE TABLE annotations (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    created timestamp with time zone NOT NULL DEFAULT now(),
    person text NOT NULL,
    topic text,
    device text,
    start timestamp with time zone NOT NULL,
    stop timestamp with time zone NOT NULL,
    text text NOT NULL,
    PRIMARY KEY (id),
    CHECK (((topic IS NULL) <> (device IS NULL))),
    CHECK ((start <= stop))
);
CREATE INDEX annotations_device ON annotations (device, start) WHERE (device IS NOT NULL);
CREATE INDEX annotations_topic ON annotations (topic, start) WHERE (topic IS NOT NULL);
COMMENT ON COLUMN annotations.device IS 'Path of a device, all of whose tags it is about';
COMMENT ON TABLE annotations IS 'What people have written about a time of a tag or a device';
GRANT INSERT ON annotations TO nexus_console;
GRANT SELECT ON annotations TO nexus_reader;

-- 016_audit.sql
-- Who wrote what to which device, and what became of it. Gateways say it, ingestion stores it, nobody changes it.
CREATE TABLE audit (
    time timestamp with time zone NOT NULL,
    id text NOT NULL,
    topic text NOT NULL,
    event text NOT NULL,
    by text,
    ok boolean,
    detail jsonb NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX audit_time ON audit ("time");
COMMENT ON COLUMN audit.topic IS 'audit/{device path}/{tag}';
COMMENT ON COLUMN audit.by IS 'Who asked for it, as far as the asker said so';
COMMENT ON COLUMN audit.detail IS 'Asked value, the values before and after, the error, and whatever else the record says';
COMMENT ON TABLE audit IS 'One row a write to a device';
GRANT SELECT ON audit TO nexus_reader;
GRANT INSERT ON audit TO nexus_writer;

-- 011_backups.sql
-- What `nexus db backup` has brought to its end, for whoever watches that it still does.
CREATE TABLE backups (
    finished timestamp with time zone NOT NULL DEFAULT now(),
    seconds double precision NOT NULL,
    bytes bigint NOT NULL,
    file text NOT NULL,
    PRIMARY KEY (finished)
);
GRANT SELECT ON backups TO nexus_reader;

-- 029_book.sql
CREATE TABLE committed (
    publisher text NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL,
    changed timestamp with time zone NOT NULL DEFAULT now(),
    PRIMARY KEY (publisher, first)
);
COMMENT ON COLUMN committed.changed IS 'When the range last grew';
COMMENT ON TABLE committed IS 'Numbers of messages that are stored, by publisher; kept in bulk mode only';

-- 042_completeness.sql
-- What gateways have counted of the readings of each device and hour. A count only grows, so the largest that came is
-- the last one, in whatever order messages came, and however often.
CREATE TABLE completeness (
    device text NOT NULL,
    time timestamp with time zone NOT NULL,
    run text NOT NULL,
    gateway text NOT NULL,
    since timestamp with time zone NOT NULL,
    until timestamp with time zone NOT NULL,
    ended boolean NOT NULL,
    read bigint NOT NULL,
    marked bigint NOT NULL,
    sent bigint NOT NULL,
    repeated bigint NOT NULL,
    receipted bigint NOT NULL,
    dropped bigint NOT NULL,
    away bigint NOT NULL,
    resting bigint NOT NULL,
    overran bigint NOT NULL,
    PRIMARY KEY (device, "time", run)
);
CREATE INDEX completeness_time ON completeness ("time");
COMMENT ON COLUMN completeness.time IS 'The beginning of the hour, by the times of the readings';
COMMENT ON COLUMN completeness.run IS 'Who counted: new with each start of a gateway, and with each time that it takes the device';
COMMENT ON COLUMN completeness.until IS 'Until when the device was watched, from since on';
COMMENT ON COLUMN completeness.ended IS 'The device has left the device files: nothing is due after until';
COMMENT ON COLUMN completeness.marked IS 'Readings of bad quality that say that the device gave none';
COMMENT ON COLUMN completeness.repeated IS 'Of those sent: with the tag and time of one before, and so no row of their own';
COMMENT ON COLUMN completeness.receipted IS 'Of those sent: known to the gateway to be in the database';
COMMENT ON COLUMN completeness.dropped IS 'Of those sent: lost, for the limits of the spool or because the broker refused them';
COMMENT ON COLUMN completeness.away IS 'Due and not read: the device did not answer';
COMMENT ON COLUMN completeness.resting IS 'Due and not read: the circuit breaker was open';
COMMENT ON COLUMN completeness.overran IS 'Due and not read: the scan before took too long';
COMMENT ON TABLE completeness IS 'A row a device, hour and run of a gateway: what was read, sent and lost of that hour';
GRANT SELECT ON completeness TO nexus_reader;
GRANT INSERT, SELECT, UPDATE ON completeness TO nexus_writer;

-- 040_console.sql
CREATE TABLE console_audit (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    time timestamp with time zone NOT NULL DEFAULT now(),
    event text NOT NULL,
    person text NOT NULL,
    via text NOT NULL,
    address text NOT NULL,
    topic text,
    old jsonb,
    new jsonb,
    ok boolean,
    detail jsonb NOT NULL DEFAULT '{}'::jsonb,
    PRIMARY KEY (id)
);
CREATE INDEX console_audit_time ON console_audit ("time");
COMMENT ON COLUMN console_audit.via IS 'How the person was known: session, key, oidc, command (on a terminal), insecure, or none';
COMMENT ON COLUMN console_audit.ok IS 'NULL: asked for, and the outcome is another row';
COMMENT ON TABLE console_audit IS 'One row a login, change, write or refusal in the console; its role can add, and not change';
GRANT INSERT, SELECT ON console_audit TO nexus_console;

-- 040_console.sql
CREATE TABLE console_keys (
    id text NOT NULL,
    name text NOT NULL,
    role text NOT NULL,
    hash bytea NOT NULL,
    created timestamp with time zone NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    expires timestamp with time zone,
    last_used timestamp with time zone,
    UNIQUE (name),
    PRIMARY KEY (id),
    CHECK ((role = ANY (ARRAY['viewer'::text, 'operator'::text, 'engineer'::text])))
);
COMMENT ON COLUMN console_keys.hash IS 'SHA-256 of the key, which is kept nowhere';
COMMENT ON COLUMN console_keys.last_used IS 'To the minute';
COMMENT ON TABLE console_keys IS 'API keys: programs that the console lets in';
GRANT DELETE, INSERT, SELECT, UPDATE ON console_keys TO nexus_console;

-- 040_console.sql
CREATE TABLE console_secrets (
    name text NOT NULL,
    secret bytea NOT NULL,
    PRIMARY KEY (name)
);
COMMENT ON TABLE console_secrets IS 'What all replicas of the console sign cookies with; made by the first that starts';
GRANT INSERT, SELECT ON console_secrets TO nexus_console;

-- 040_console.sql
CREATE TABLE console_sessions (
    id bytea NOT NULL,
    name text NOT NULL,
    account text,
    role text,
    created timestamp with time zone NOT NULL DEFAULT now(),
    expires timestamp with time zone NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY (account) REFERENCES console_users(name) ON DELETE CASCADE,
    CHECK (((account IS NULL) <> (role IS NULL))),
    CHECK ((role = ANY (ARRAY['viewer'::text, 'operator'::text, 'engineer'::text])))
);
CREATE INDEX console_sessions_account ON console_sessions (account);
COMMENT ON COLUMN console_sessions.id IS 'SHA-256 of what the signed cookie holds';
COMMENT ON COLUMN console_sessions.account IS 'Of whom has a password here, and that account''s role; else the role is what the OpenID provider said';
COMMENT ON TABLE console_sessions IS 'Who is logged in to the console; a row that is deleted ends a session';
GRANT DELETE, INSERT, SELECT, UPDATE ON console_sessions TO nexus_console;

-- 040_console.sql
CREATE TABLE console_users (
    name text NOT NULL,
    role text NOT NULL,
    password text NOT NULL,
    created timestamp with time zone NOT NULL DEFAULT now(),
    changed timestamp with time zone NOT NULL DEFAULT now(),
    PRIMARY KEY (name),
    CHECK ((role = ANY (ARRAY['viewer'::text, 'operator'::text, 'engineer'::text])))
);
COMMENT ON COLUMN console_users.password IS 'scrypt$log2(N)$r$p$salt$key, the last two in base64';
COMMENT ON TABLE console_users IS 'People who log in to the console with a password';
GRANT DELETE, INSERT, SELECT, UPDATE ON console_users TO nexus_console;

-- 025_consumers.sql
-- Which consumer has which number of its group. It is taken while the holder's connection lives: the server lists that by
-- login and application name, and under another login nobody can stand in for it. An advisory lock would do the same, but
-- whoever may connect may take any of those.
CREATE TABLE consumers (
    consumer_group text NOT NULL,
    number integer NOT NULL,
    login oid NOT NULL,
    application text NOT NULL,
    lag double precision,
    lag_at timestamp with time zone,
    PRIMARY KEY (consumer_group, number)
);
COMMENT ON COLUMN consumers.lag IS 'Seconds from the newest reading of the last batch to its commit, or that the oldest message waits';
COMMENT ON TABLE consumers IS 'The number of each consumer in its group; taken while its connection is open';
GRANT SELECT ON consumers TO nexus_reader;
GRANT INSERT, SELECT, UPDATE ON consumers TO nexus_writer;

-- 037_late_refresh.community.sql
-- Each topic and day that late rows went into, until its rollups are computed again: whole hours, from its first to its last.
CREATE TABLE late_hours (
    topic text NOT NULL,
    first timestamp with time zone NOT NULL,
    after timestamp with time zone NOT NULL
);

-- 001_metrics.sql
CREATE TABLE metrics (
    time timestamp with time zone NOT NULL,
    topic text NOT NULL,
    value double precision,
    value_str text,
    quality smallint NOT NULL,
    unit text
);
-- A hypertable by time, in chunks of 1 day.
-- Its columnstore: segmented by topic, ordered by "time".
CREATE UNIQUE INDEX metrics_topic_time ON metrics (topic, "time");
COMMENT ON COLUMN metrics.time IS 'When the value was read, or the source''s own time';
COMMENT ON COLUMN metrics.topic IS 'dev/{device path}/{tag}';
COMMENT ON COLUMN metrics.value IS 'Numbers; booleans as 0 and 1';
COMMENT ON COLUMN metrics.value_str IS 'Texts; and the digits of integers beyond 2^53';
COMMENT ON COLUMN metrics.quality IS 'OPC classic: 192 good, 64 uncertain, 0 bad';
COMMENT ON TABLE metrics IS 'One row a reading';
GRANT SELECT ON metrics TO nexus_reader;
GRANT INSERT ON metrics TO nexus_writer;

-- 008_late.community.sql
-- Rows for compressed chunks arrive here, because writing them where they belong costs three times as much and would
-- hold up the fresh ones. `merge_late` brings them home, and refreshes the buckets that it touched.
CREATE TABLE metrics_late (
    time timestamp with time zone NOT NULL,
    topic text NOT NULL,
    value double precision,
    value_str text,
    quality smallint NOT NULL,
    unit text,
    CHECK (((octet_length(value_str) <= 16000000) AND (octet_length(unit) <= 16000000))) NOT VALID,
    CHECK ((("time" >= '1970-01-01 00:00:00+00'::timestamp with time zone) AND ("time" < '3000-01-01 00:00:00+00'::timestamp with time zone))) NOT VALID,
    CHECK ((octet_length(topic) <= 2000))
);
CREATE INDEX metrics_late_time ON metrics_late ("time");
COMMENT ON TABLE metrics_late IS 'On their way into compressed chunks of metrics; empty within a minute';
GRANT SELECT ON metrics_late TO nexus_reader;
GRANT INSERT ON metrics_late TO nexus_writer;

CREATE TABLE nexus_migrations (
    name text NOT NULL,
    tier text NOT NULL,
    applied_at timestamp with time zone NOT NULL DEFAULT now(),
    PRIMARY KEY (name)
);
GRANT SELECT ON nexus_migrations TO nexus_reader;
GRANT SELECT ON nexus_migrations TO nexus_writer;

-- 053_notifications.sql
CREATE TABLE notification_attempts (
    notification bigint NOT NULL,
    number integer NOT NULL,
    time timestamp with time zone NOT NULL,
    seconds real NOT NULL,
    sent boolean NOT NULL,
    answer text NOT NULL,
    PRIMARY KEY (notification, number),
    FOREIGN KEY (notification) REFERENCES notifications(id) ON DELETE CASCADE
);
COMMENT ON TABLE notification_attempts IS 'Each attempt to send a notification, and what the receiver said';
GRANT INSERT, SELECT ON notification_attempts TO nexus_console;

-- 053_notifications.sql
CREATE TABLE notification_queue (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    stored timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    time timestamp with time zone NOT NULL,
    topic text NOT NULL,
    device text NOT NULL,
    tag text NOT NULL,
    name text NOT NULL,
    occurrence timestamp with time zone NOT NULL,
    state text NOT NULL,
    since timestamp with time zone NOT NULL,
    event text NOT NULL,
    active boolean NOT NULL,
    acknowledged boolean NOT NULL,
    value double precision,
    value_str text,
    limit double precision,
    unit text,
    priority text NOT NULL,
    text text NOT NULL,
    response text NOT NULL,
    by text,
    reason text NOT NULL,
    until timestamp with time zone,
    PRIMARY KEY (id)
);
COMMENT ON TABLE notification_queue IS 'Events of alarms that the routes have not judged yet';
GRANT DELETE, SELECT ON notification_queue TO nexus_console;

-- 053_notifications.sql
-- Notifications of alarms. An event is queued in the transaction that stores it, and judged by the console's routes; what
-- comes of it waits in the outbox until its receiver has it.
CREATE TABLE notification_sender (
    only_row boolean NOT NULL DEFAULT true,
    wanted_until timestamp with time zone NOT NULL,
    name text NOT NULL,
    since timestamp with time zone NOT NULL,
    PRIMARY KEY (only_row),
    CHECK (only_row)
);
COMMENT ON COLUMN notification_sender.wanted_until IS 'Renewed while a console sends: where none does, the queue does not grow';
COMMENT ON TABLE notification_sender IS 'Which console sends notifications, and until when events are queued for it';
GRANT INSERT, SELECT, UPDATE ON notification_sender TO nexus_console;

-- 053_notifications.sql
CREATE TABLE notification_waits (
    topic text NOT NULL,
    occurrence timestamp with time zone NOT NULL,
    route text NOT NULL,
    step integer NOT NULL,
    began timestamp with time zone NOT NULL,
    due timestamp with time zone NOT NULL,
    receivers text[] NOT NULL DEFAULT '{}'::text[],
    PRIMARY KEY (topic, occurrence, route, step)
);
CREATE INDEX notification_waits_due ON notification_waits (due);
COMMENT ON COLUMN notification_waits.receivers IS 'Who is told, as the route said when the alarm was raised';
COMMENT ON TABLE notification_waits IS 'Escalations: occurrences of which others are told, unless they are acknowledged before';
GRANT DELETE, INSERT, SELECT ON notification_waits TO nexus_console;

-- 053_notifications.sql
CREATE TABLE notifications (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    created timestamp with time zone NOT NULL,
    receiver text NOT NULL,
    channel text NOT NULL,
    route text NOT NULL,
    kind text NOT NULL,
    key text NOT NULL,
    topic text NOT NULL DEFAULT ''::text,
    word jsonb,
    summary jsonb,
    late boolean NOT NULL DEFAULT false,
    state text NOT NULL DEFAULT 'pending'::text,
    due timestamp with time zone NOT NULL,
    expires timestamp with time zone NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    settled timestamp with time zone,
    answer text NOT NULL DEFAULT ''::text,
    digest bigint,
    remaining text[],
    refused text[] NOT NULL DEFAULT '{}'::text[],
    UNIQUE (key, receiver),
    PRIMARY KEY (id),
    CHECK ((kind = ANY (ARRAY['event'::text, 'escalation'::text, 'digest'::text]))),
    CHECK ((state = ANY (ARRAY['pending'::text, 'sent'::text, 'dead'::text, 'digested'::text])))
);
CREATE INDEX notifications_dead ON notifications (id) WHERE (state = 'dead'::text);
CREATE INDEX notifications_digest ON notifications (digest, topic) WHERE (digest IS NOT NULL);
CREATE INDEX notifications_digests ON notifications (receiver, created) WHERE (kind = 'digest'::text);
CREATE INDEX notifications_due ON notifications (receiver, due) WHERE (state = 'pending'::text);
CREATE INDEX notifications_expires ON notifications (receiver, expires) WHERE (state = 'pending'::text);
CREATE INDEX notifications_of_alarm ON notifications (receiver, topic, id) WHERE ((state = 'pending'::text) AND (remaining IS NULL));
CREATE INDEX notifications_partly ON notifications (receiver, due) WHERE ((state = 'pending'::text) AND (remaining IS NOT NULL));
CREATE INDEX notifications_partly_made ON notifications (receiver, created) WHERE ((remaining IS NOT NULL) AND (kind <> 'digest'::text));
CREATE INDEX notifications_pending ON notifications (receiver, id) WHERE (state = 'pending'::text);
CREATE INDEX notifications_receiver ON notifications (receiver, id);
CREATE INDEX notifications_sent ON notifications (receiver, settled) WHERE ((state = 'sent'::text) AND (kind <> 'digest'::text));
CREATE INDEX notifications_settled ON notifications (settled);
CREATE INDEX notifications_waiting ON notifications (created) WHERE (state = 'pending'::text);
COMMENT ON COLUMN notifications.key IS 'Goes with the notification; one that is sent twice has the same';
COMMENT ON COLUMN notifications.word IS 'The event, as it travels on the alarm''s topic';
COMMENT ON COLUMN notifications.summary IS 'Of a digest: how many it stands for, and the most frequent';
COMMENT ON COLUMN notifications.due IS 'When it is tried next';
COMMENT ON COLUMN notifications.expires IS 'When it is given up: it is dead then, and may be tried again';
COMMENT ON COLUMN notifications.settled IS 'When it was sent, given up, or taken into a digest';
COMMENT ON COLUMN notifications.answer IS 'What the receiver said last';
COMMENT ON COLUMN notifications.digest IS 'The digest by which it was told';
COMMENT ON COLUMN notifications.remaining IS 'Of a mail that some have: who has not got it';
COMMENT ON COLUMN notifications.refused IS 'Those of them whom the mail server refuses for ever';
COMMENT ON TABLE notifications IS 'The outbox: one row a notification and receiver';
GRANT DELETE, INSERT, SELECT, UPDATE ON notifications TO nexus_console;

-- 001_metrics.sql
CREATE TABLE rejects (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    time timestamp with time zone NOT NULL DEFAULT now(),
    topic text NOT NULL,
    payload bytea NOT NULL,
    reason text NOT NULL,
    source text,
    tags text[],
    key uuid,
    retry timestamp with time zone,
    tried timestamp with time zone,
    PRIMARY KEY (id)
);
CREATE INDEX rejects_late_refused ON rejects ("time") WHERE (reason ~~ 'the database refused the late row: %'::text);
CREATE INDEX rejects_reason ON rejects (reason text_pattern_ops, "time");
CREATE INDEX rejects_retry ON rejects (id) WHERE (retry IS NOT NULL);
CREATE INDEX rejects_time ON rejects ("time");
CREATE UNIQUE INDEX rejects_key ON rejects (key);
COMMENT ON COLUMN rejects.time IS 'When it arrived';
COMMENT ON COLUMN rejects.topic IS 'Topic of the value, or of the message where all of it was refused';
COMMENT ON COLUMN rejects.source IS 'Topic that the message came on, where it is another';
COMMENT ON COLUMN rejects.tags IS 'The refused tags of a message of which others are stored; empty for a single row';
COMMENT ON COLUMN rejects.key IS 'The same for repetitions; none where nobody can tell, or while it is tried again';
COMMENT ON COLUMN rejects.retry IS 'When somebody asked for it to be tried again; infinity while it is tried';
COMMENT ON COLUMN rejects.tried IS 'When it was tried again last, and refused again';
COMMENT ON TABLE rejects IS 'What arrived and could not be stored, and why';
GRANT SELECT ON rejects TO nexus_reader;
GRANT INSERT ON rejects TO nexus_writer;

-- 054_rules.sql
CREATE TABLE rule_alarms (
    rule_group text NOT NULL,
    topic text NOT NULL,
    payload bytea NOT NULL,
    PRIMARY KEY (rule_group, topic)
);
COMMENT ON TABLE rule_alarms IS 'The last word of each alarm of a rule';
GRANT DELETE, INSERT, SELECT, UPDATE ON rule_alarms TO nexus_rules;

-- 054_rules.sql
CREATE TABLE rule_outbox (
    rule_group text NOT NULL,
    number bigint NOT NULL,
    topic text NOT NULL,
    payload bytea NOT NULL,
    retain boolean NOT NULL,
    PRIMARY KEY (rule_group, number)
);
COMMENT ON TABLE rule_outbox IS 'Messages of rules that are to be published, until ingestion has confirmed them';
GRANT DELETE, INSERT, SELECT ON rule_outbox TO nexus_rules;

-- 054_rules.sql
-- What `nexus rules` goes on from. It is written in the transaction that takes the inputs, by whoever holds the lock of
-- the group; nobody else needs any of it, and a publisher's name is a secret.
CREATE TABLE rule_publishers (
    rule_group text NOT NULL,
    publisher text NOT NULL,
    last bigint NOT NULL,
    offered boolean NOT NULL DEFAULT false,
    PRIMARY KEY (rule_group)
);
COMMENT ON COLUMN rule_publishers.offered IS 'Whether ingesters ever offered receipts, with `NEXUS_RECEIPTS=auto`';
COMMENT ON TABLE rule_publishers IS 'The name by which each group of rules numbers its messages, and the last number';
GRANT INSERT, SELECT, UPDATE ON rule_publishers TO nexus_rules;

-- 054_rules.sql
CREATE TABLE rule_states (
    rule_group text NOT NULL,
    path text NOT NULL,
    state bytea NOT NULL,
    PRIMARY KEY (rule_group, path)
);
COMMENT ON TABLE rule_states IS 'Of each rule its clock, the newest inputs, the last results and the totals, as JSON';
GRANT INSERT, SELECT, UPDATE ON rule_states TO nexus_rules;

-- 007_topics.sql
-- Which topics there are, and the last value of each: a look into the index a topic, not a scan.
CREATE TABLE topics (
    topic text NOT NULL,
    since timestamp with time zone NOT NULL DEFAULT now(),
    PRIMARY KEY (topic)
);
COMMENT ON TABLE topics IS 'Every topic that has ever been stored';
GRANT SELECT ON topics TO nexus_reader;
GRANT INSERT ON topics TO nexus_writer;

-- Views

-- 046_alarm_events.sql
CREATE VIEW alarms_now AS
 SELECT "time",
    topic,
    device,
    tag,
    name,
    occurrence,
    state,
    since,
    event,
    active,
    acknowledged,
    value,
    value_str,
    "limit",
    unit,
    priority,
    text,
    response,
    by,
    reason,
    until
   FROM alarm_states
  WHERE state <> 'normal'::text;
COMMENT ON VIEW alarms_now IS 'The last event of each alarm that is not normal';
GRANT SELECT ON alarms_now TO nexus_reader;

-- 048_alarm_statistics.sql
-- How well an alarm system serves its operators, by EEMUA 191 and ISA-18.2: what calls a person, how often, and for how long.
CREATE VIEW alarms_raised AS
 SELECT "time",
    topic,
    device,
    tag,
    name,
    occurrence,
    priority,
    text
   FROM alarm_events
  WHERE (event = ANY (ARRAY['raised'::text, 'realarmed'::text, 'unshelved'::text, 'unsuppressed'::text, 'in-service'::text])) AND state = 'unacknowledged'::text;
COMMENT ON VIEW alarms_raised IS 'Each time that an alarm called a person; what was shelved, suppressed or out of service did not';
GRANT SELECT ON alarms_raised TO nexus_reader;

-- 048_alarm_statistics.sql
CREATE VIEW alarms_standing AS
 SELECT topic,
    device,
    tag,
    name,
    priority,
    text,
    state,
    occurrence,
    now() - occurrence AS age,
    occurrence < (now() - '24:00:00'::interval) AS stale
   FROM alarms_now
  WHERE active AND (state = ANY (ARRAY['unacknowledged'::text, 'acknowledged'::text]));
COMMENT ON VIEW alarms_standing IS 'Alarms whose condition holds, and that nothing hides; stale after 24 hours';
GRANT SELECT ON alarms_standing TO nexus_reader;

-- 004_rollups.community.sql
CREATE MATERIALIZED VIEW /* continuous aggregate, real-time */ metrics_1day AS
 SELECT time_bucket('1 day'::interval, bucket) AS bucket,
    topic,
    (sum(sum) / (NULLIF(sum(numbers), (0)::numeric))::double precision) AS avg,
    min(min) AS min,
    max(max) AS max,
    first(first, bucket) FILTER (WHERE (first IS NOT NULL)) AS first,
    last(last, bucket) FILTER (WHERE (last IS NOT NULL)) AS last,
    (sum(count))::bigint AS count,
    (sum(good))::bigint AS good,
    sum(sum) AS sum,
    (sum(numbers))::bigint AS numbers
   FROM metrics_1hour
  GROUP BY (time_bucket('1 day'::interval, bucket)), topic;
GRANT SELECT ON metrics_1day TO nexus_reader;

-- 004_rollups.community.sql
CREATE MATERIALIZED VIEW /* continuous aggregate, real-time */ metrics_1hour AS
 SELECT time_bucket('01:00:00'::interval, bucket) AS bucket,
    topic,
    (sum(sum) / (NULLIF(sum(numbers), (0)::numeric))::double precision) AS avg,
    min(min) AS min,
    max(max) AS max,
    first(first, bucket) FILTER (WHERE (first IS NOT NULL)) AS first,
    last(last, bucket) FILTER (WHERE (last IS NOT NULL)) AS last,
    (sum(count))::bigint AS count,
    (sum(good))::bigint AS good,
    sum(sum) AS sum,
    (sum(numbers))::bigint AS numbers
   FROM metrics_1min
  GROUP BY (time_bucket('01:00:00'::interval, bucket)), topic;
GRANT SELECT ON metrics_1hour TO nexus_reader;

-- 004_rollups.community.sql
-- Sum and number of values are carried along, so that averages stay exact up the hierarchy.
CREATE MATERIALIZED VIEW /* continuous aggregate, real-time */ metrics_1min AS
 SELECT time_bucket('00:01:00'::interval, "time") AS bucket,
    topic,
    avg(value) FILTER (WHERE (quality >= 64)) AS avg,
    min(value) FILTER (WHERE (quality >= 64)) AS min,
    max(value) FILTER (WHERE (quality >= 64)) AS max,
    first(value, "time") FILTER (WHERE ((quality >= 64) AND (value IS NOT NULL))) AS first,
    last(value, "time") FILTER (WHERE ((quality >= 64) AND (value IS NOT NULL))) AS last,
    count(*) AS count,
    count(*) FILTER (WHERE (quality >= 192)) AS good,
    sum(value) FILTER (WHERE (quality >= 64)) AS sum,
    count(value) FILTER (WHERE (quality >= 64)) AS numbers
   FROM metrics
  GROUP BY (time_bucket('00:01:00'::interval, "time")), topic;
GRANT SELECT ON metrics_1min TO nexus_reader;

-- 007_topics.sql
CREATE VIEW metrics_latest AS
 SELECT topics.topic,
    last."time",
    last.value,
    last.value_str,
    last.quality,
    last.unit
   FROM topics
     CROSS JOIN LATERAL ( SELECT metrics."time",
            metrics.value,
            metrics.value_str,
            metrics.quality,
            metrics.unit
           FROM metrics
          WHERE metrics.topic = topics.topic
          ORDER BY metrics."time" DESC
         LIMIT 1) last;
COMMENT ON VIEW metrics_latest IS 'The newest row of each topic';
GRANT SELECT ON metrics_latest TO nexus_reader;

-- Functions and procedures

-- 048_alarm_statistics.sql
-- Alarms that were raised so many `times` within a minute, how often, and how often they were raised in all.
CREATE FUNCTION alarm_chattering(start timestamp with time zone, stop timestamp with time zone, times integer DEFAULT 3)
 RETURNS TABLE(topic text, text text, bursts bigint, raised bigint)
 LANGUAGE sql
 STABLE
AS $function$
    SELECT a.topic, max(a.text), count(*) FILTER (WHERE a.time - a.before <= INTERVAL '1 minute') AS bursts, count(*)
    FROM (
        SELECT one.*, lag(one.time, times - 1) OVER (PARTITION BY one.topic ORDER BY one.time) AS before
        FROM alarms_raised AS one WHERE one.time >= start AND one.time < stop
    ) AS a
    GROUP BY a.topic HAVING bool_or(a.time - a.before <= INTERVAL '1 minute') ORDER BY bursts DESC, 1
$function$;

-- 048_alarm_statistics.sql
-- How many were raised in each 10 minutes, those without any too.
CREATE FUNCTION alarm_rate(start timestamp with time zone, stop timestamp with time zone)
 RETURNS TABLE(bucket timestamp with time zone, raised bigint)
 LANGUAGE sql
 STABLE
AS $function$
    WITH counted AS (
        SELECT date_bin('10 minutes', time, '2000-01-01Z') AS at, count(*) AS raised
        FROM alarms_raised WHERE time >= start AND time < stop GROUP BY 1
    )
    SELECT bucket, coalesce(counted.raised, 0)
    FROM generate_series(date_bin('10 minutes', start, '2000-01-01Z'), stop - INTERVAL '1 microsecond', '10 minutes')
        AS bucket LEFT JOIN counted ON at = bucket
    ORDER BY bucket
$function$;

-- 048_alarm_statistics.sql
-- How long occurrences waited for a person, by priority; those that began then.
CREATE FUNCTION alarm_response(start timestamp with time zone, stop timestamp with time zone)
 RETURNS TABLE(priority text, raised bigint, acknowledged bigint, median interval, p95 interval, longest interval)
 LANGUAGE sql
 STABLE
AS $function$
    WITH each AS (
        SELECT max(e.priority) AS priority, min(e.time) FILTER (WHERE e.state = 'unacknowledged') AS at,
               min(e.time) FILTER (WHERE e.event = 'acknowledged') AS seen
        FROM alarm_events AS e WHERE e.time >= start AND e.occurrence >= start AND e.occurrence < stop
        GROUP BY e.topic, e.occurrence
    ), waited AS (
        SELECT one.priority, CASE WHEN one.seen >= one.at THEN one.seen - one.at END AS wait
        FROM each AS one WHERE at IS NOT NULL
    )
    SELECT w.priority, count(*), count(wait), percentile_cont(0.5) WITHIN GROUP (ORDER BY wait),
           percentile_cont(0.95) WITHIN GROUP (ORDER BY wait), max(wait)
    FROM waited AS w GROUP BY 1 ORDER BY array_position(ARRAY['critical', 'high', 'medium', 'low'], w.priority)
$function$;

-- 048_alarm_statistics.sql
-- All of it in a row. A flood is more than 10 in 10 minutes; shares are from 0 to 1.
CREATE FUNCTION alarm_statistics(start timestamp with time zone, stop timestamp with time zone)
 RETURNS TABLE(raised bigint, per_10_minutes double precision, peak_10_minutes bigint, flood_share double precision, top_10_share double precision, chattering bigint, standing bigint, stale bigint, shelved bigint, unacknowledged bigint, median_response interval)
 LANGUAGE sql
 STABLE
AS $function$
    SELECT rate.raised, rate.mean, rate.peak, rate.flood,
           (SELECT sum(share) FROM alarm_top(start, stop)), (SELECT count(*) FROM alarm_chattering(start, stop)),
           (SELECT count(*) FROM alarms_standing), (SELECT count(*) FROM alarms_standing AS s WHERE s.stale),
           (SELECT count(*) FROM alarms_now WHERE state = 'shelved'),
           (SELECT count(*) FROM alarms_now WHERE state IN ('unacknowledged', 'returned')),
           (
               SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY e.time - e.occurrence) FROM alarm_events AS e
               WHERE e.event = 'acknowledged' AND e.time >= start AND e.time < stop
           )
    FROM (
        SELECT coalesce(sum(r.raised), 0)::bigint AS raised, coalesce(avg(r.raised), 0)::float8 AS mean,
               coalesce(max(r.raised), 0) AS peak,
               coalesce(avg((r.raised > 10)::int), 0)::float8 AS flood
        FROM alarm_rate(start, stop) AS r
    ) AS rate
$function$;

-- 048_alarm_statistics.sql
-- The alarms that were raised most often, and their share of all.
CREATE FUNCTION alarm_top(start timestamp with time zone, stop timestamp with time zone, most integer DEFAULT 10)
 RETURNS TABLE(topic text, priority text, text text, raised bigint, share double precision)
 LANGUAGE sql
 STABLE
AS $function$
    SELECT a.topic, max(a.priority), max(a.text), count(*), count(*) / sum(count(*)) OVER ()::float8
    FROM alarms_raised AS a WHERE a.time >= start AND a.time < stop
    GROUP BY a.topic ORDER BY 4 DESC, 1 LIMIT most
$function$;

-- 029_book.sql
-- Books what comes; `booked` was called before, in the same transaction.
CREATE FUNCTION book(publishers text[], firsts bigint[], lasts bigint[])
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET search_path TO 'public', 'pg_temp'
AS $function$
    WITH came AS (
        SELECT * FROM unnest(publishers, firsts, lasts) AS came (publisher, first, last)
    ), beside AS (
        SELECT found.* FROM (
            SELECT array_agg(publisher) AS names, array_agg(first - 1) AS before, array_agg(last + 1) AS after FROM came
        ) AS wider, overlapping(names, before, after) AS found
    ), merged AS (
        SELECT publisher, lower(part) AS first, upper(part) - 1 AS last FROM (
            SELECT publisher, unnest(range_agg(int8range(first, last, '[]'))) AS part
            FROM (SELECT * FROM came UNION ALL SELECT * FROM beside) AS parts
            GROUP BY publisher
        ) AS whole
    ), gone AS (
        DELETE FROM committed AS c USING merged AS m
        WHERE c.publisher = m.publisher AND c.first > m.first AND c.first <= m.last
    )
    INSERT INTO committed (publisher, first, last) SELECT publisher, first, last FROM merged
    ON CONFLICT (publisher, first) DO UPDATE SET last = excluded.last, changed = excluded.changed
$function$;
REVOKE EXECUTE ON FUNCTION book(publishers text[], firsts bigint[], lasts bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION book(publishers text[], firsts bigint[], lasts bigint[]) TO nexus_writer;

-- 029_book.sql
-- What is booked already of what comes. From here to the end of the transaction nobody else books for these publishers.
-- Writers may not read the book, which names the publishers.
CREATE FUNCTION booked(publishers text[], firsts bigint[], lasts bigint[])
 RETURNS TABLE(publisher text, first bigint, last bigint)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
DECLARE
    names text[] := ARRAY(SELECT DISTINCT name FROM unnest(publishers) AS name ORDER BY name);
    locked bigint;
BEGIN
    INSERT INTO committed (publisher, first, last) SELECT name, 0, 0 FROM unnest(names) AS name ON CONFLICT DO NOTHING;
    SELECT count(*) INTO locked FROM (
        SELECT FROM committed AS c WHERE c.publisher = ANY (names) AND c.first = 0 ORDER BY c.publisher FOR UPDATE
    ) AS ours;
    IF locked < cardinality(names) THEN -- forgotten meanwhile
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = 'a publisher was forgotten meanwhile';
    END IF;
    RETURN QUERY SELECT * FROM overlapping(publishers, firsts, lasts);
END
$function$;
REVOKE EXECUTE ON FUNCTION booked(publishers text[], firsts bigint[], lasts bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION booked(publishers text[], firsts bigint[], lasts bigint[]) TO nexus_writer;

-- 037_late_refresh.community.sql
-- Moves late rows of a range of time to where they belong. Of what is there already, only another value is of interest.
-- Gives false where something is in the way: then with fewer rows, down to one, which is set aside if it is that row.
CREATE FUNCTION bring_home(start timestamp with time zone, stop timestamp with time zone, most integer)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
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
$function$;

-- 025_consumers.sql
-- Gives the number wanted, or the lowest that is free; NULL if there is none. Whose it is already, may ask again.
CREATE FUNCTION claim_number(of_group text, wanted integer, most integer)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
DECLARE
    me CONSTANT text := current_setting('application_name');
    found int;
BEGIN
    SELECT number INTO found FROM consumers WHERE consumer_group = of_group AND number = wanted AND application = me;
    IF found IS NOT NULL THEN
        RETURN found;
    END IF;
    LOCK TABLE consumers IN SHARE ROW EXCLUSIVE MODE;
    SELECT min(free) INTO found
    FROM generate_series(coalesce(wanted, 0), coalesce(wanted, most - 1)) AS free
    WHERE NOT EXISTS (
        SELECT 1 FROM consumers
        JOIN pg_stat_activity AS live ON live.usesysid = login AND live.application_name = application
        WHERE consumer_group = of_group AND number = free AND application <> me
    );
    IF found IS NOT NULL THEN
        INSERT INTO consumers (consumer_group, number, login, application)
        SELECT of_group, found, usesysid, me FROM pg_stat_activity WHERE pid = pg_backend_pid()
        ON CONFLICT (consumer_group, number) DO UPDATE SET login = excluded.login, application = excluded.application;
    END IF;
    RETURN found;
END
$function$;
REVOKE EXECUTE ON FUNCTION claim_number(of_group text, wanted integer, most integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION claim_number(of_group text, wanted integer, most integer) TO nexus_writer;

-- 033_compress_chunks.community.sql
-- What TimescaleDB's policy does, but waiting for a reader's open transaction so long and no longer: all who ask for that chunk
-- wait behind it. It tries again after ten minutes, because what it has done for that chunk it has to do anew.
CREATE PROCEDURE compress_old_chunks(IN job_id integer, IN config jsonb)
 LANGUAGE plpgsql
AS $procedure$
BEGIN
    PERFORM set_config('lock_timeout', '10s', false); -- for all its transactions
    CALL _timescaledb_functions.policy_compression(job_id, config);
END
$procedure$;
REVOKE EXECUTE ON PROCEDURE compress_old_chunks(IN job_id integer, IN config jsonb) FROM PUBLIC;

-- 014_conflicts.sql
-- Of rows that are in the table by topic and time, those with another value there. Writers may not read the table; this
-- tells them no more than whether what they bring is what is stored.
CREATE FUNCTION conflicting(topics text[], times timestamp with time zone[], numbers double precision[], texts text[], qualities smallint[], units text[])
 RETURNS TABLE(topic text, "time" timestamp with time zone, value double precision, value_str text, quality smallint, unit text)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    SELECT came.topic, came.time, came.value, came.value_str, came.quality, came.unit
    FROM unnest(topics, times, numbers, texts, qualities, units)
         AS came (topic, time, value, value_str, quality, unit)
    JOIN metrics AS stored ON stored.topic = came.topic AND stored.time = came.time
    WHERE stored.time >= (SELECT min(one) FROM unnest(times) AS one)
      AND stored.time <= (SELECT max(one) FROM unnest(times) AS one)
      AND (stored.value, stored.value_str, stored.quality)
          IS DISTINCT FROM (came.value, came.value_str, came.quality)
$function$;
REVOKE EXECUTE ON FUNCTION conflicting(topics text[], times timestamp with time zone[], numbers double precision[], texts text[], qualities smallint[], units text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION conflicting(topics text[], times timestamp with time zone[], numbers double precision[], texts text[], qualities smallint[], units text[]) TO nexus_writer;

-- 045_days_boundary.community.sql
-- From when on the plant's days are computed. Those before it are of other time zones than the plant's: their hours are
-- dropped, and they are kept as they were. `nexus db migrate` sets it when NEXUS_TIME_ZONE changes.
CREATE FUNCTION days_computed_from()
 RETURNS timestamp with time zone
 LANGUAGE sql
 IMMUTABLE
AS $function$ SELECT timestamptz '-infinity' $function$;

-- 039_plant_days.community.sql
-- What days are made from: hours, or minutes where the plant's hours are not those of UTC.
CREATE FUNCTION days_made_from()
 RETURNS name
 LANGUAGE sql
 STABLE
AS $function$
    SELECT finer.view_name FROM timescaledb_information.continuous_aggregates AS days
    JOIN timescaledb_information.continuous_aggregates AS finer
      ON days.hypertable_name IN (finer.view_name, finer.materialization_hypertable_name)
    WHERE days.view_name = 'metrics_1day'
$function$;

-- 039_plant_days.community.sql
-- Days of readings that no aggregate has, though the policies are past them: `nexus db refresh` makes up for it.
CREATE FUNCTION days_not_rolled_up()
 RETURNS bigint
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    SELECT count(DISTINCT day) FROM stored_days(late_before() - INTERVAL '5 days') AS day,
        plant_days(day, day + INTERVAL '24 hours') AS ours
    WHERE rolled_up('metrics_1day', ours.first, ours.after) = 0
      AND EXISTS (SELECT 1 FROM metrics
                  WHERE time >= greatest(day, ours.first) AND time < least(day + INTERVAL '24 hours', ours.after))
$function$;
REVOKE EXECUTE ON FUNCTION days_not_rolled_up() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION days_not_rolled_up() TO nexus_reader;
GRANT EXECUTE ON FUNCTION days_not_rolled_up() TO nexus_writer;

-- 032_drop_chunks.community.sql
-- Old chunks go a few a transaction: each costs locks, of which a server has so many and no more. Readings go when they
-- are in the aggregates. `config` says after how many days, for the table and each aggregate. Who reads an old chunk in an open
-- transaction makes it fail: it tries again in a minute. If it waited, all who ask for that chunk would wait behind it.
CREATE PROCEDURE drop_old_chunks(IN job_id integer, IN config jsonb)
 LANGUAGE plpgsql
AS $procedure$
DECLARE
    most CONSTANT int := 20;
    part record;
    upto timestamptz;
    day timestamptz;
    refreshed int;
BEGIN
    PERFORM set_config('lock_timeout', '2s', false); -- for all its transactions
    FOR part IN SELECT key AS relation, value::int AS days FROM jsonb_each_text(config) ORDER BY length(key) LOOP
        LOOP
            SELECT max(range_end) INTO upto FROM (
                SELECT range_end FROM timescaledb_information.chunks
                WHERE range_end <= now() - make_interval(days => part.days) AND hypertable_name = coalesce(
                    (SELECT materialization_hypertable_name FROM timescaledb_information.continuous_aggregates
                     WHERE view_name = part.relation), part.relation)
                ORDER BY range_end LIMIT most
            ) AS oldest;
            EXIT WHEN upto IS NULL;
            IF part.relation = 'metrics' THEN
                FOR day IN SELECT stored_days(upto) LOOP
                    CALL refresh_day(day, refreshed);
                END LOOP;
            END IF;
            PERFORM drop_chunks(part.relation::regclass, older_than => upto);
            COMMIT;
        END LOOP;
    END LOOP;
END
$procedure$;
REVOKE EXECUTE ON PROCEDURE drop_old_chunks(IN job_id integer, IN config jsonb) FROM PUBLIC;

-- 026_records.sql
-- Old rejects and audit records go in steps, so that none holds many locks or much disk. `config` says after how many
-- days, by table; what it does not name is kept.
CREATE PROCEDURE drop_old_records(IN job_id integer, IN config jsonb)
 LANGUAGE plpgsql
AS $procedure$
DECLARE
    most CONSTANT int := 10000;
    part record;
    gone bigint;
BEGIN
    FOR part IN SELECT key AS relation, value::int AS days FROM jsonb_each_text(config) LOOP
        LOOP
            EXECUTE format('DELETE FROM %1$I WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM %1$I WHERE time < now() - make_interval(days => $1) ORDER BY time LIMIT $2))',
                part.relation)
            USING part.days, most;
            GET DIAGNOSTICS gone = ROW_COUNT;
            COMMIT;
            EXIT WHEN gone < most;
        END LOOP;
    END LOOP;
END
$procedure$;
REVOKE EXECUTE ON PROCEDURE drop_old_records(IN job_id integer, IN config jsonb) FROM PUBLIC;

-- 044_reject_retry.sql
-- Of those that were taken, what is stored now goes; what is refused again stays. Writers may not touch any other.
CREATE FUNCTION drop_taken_rejects(ids bigint[])
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    DELETE FROM rejects WHERE id = ANY (ids) AND retry = 'infinity'
$function$;
REVOKE EXECUTE ON FUNCTION drop_taken_rejects(ids bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION drop_taken_rejects(ids bigint[]) TO nexus_writer;

-- 029_book.sql
-- What is older than the table keeps is refused when it comes again: nothing need be known of it.
CREATE PROCEDURE forget_committed(IN job_id integer, IN config jsonb)
 LANGUAGE sql
AS $procedure$
    DELETE FROM committed WHERE changed < now() - make_interval(days => (config->>'days')::int + 1)
$procedure$;
REVOKE EXECUTE ON PROCEDURE forget_committed(IN job_id integer, IN config jsonb) FROM PUBLIC;

-- 024_health.community.sql
-- TimescaleDB shows a job's errors to the job's owner only, and a monitor is none.
-- TimescaleDB 2.29.2 on PostgreSQL 17.12 calls a job failed when its work is committed already, because it cannot put away
-- the job's portal: that is no failure.
CREATE FUNCTION job_states()
 RETURNS TABLE(task text, schedule interval, failed boolean, finished timestamp with time zone, failures bigint, error text)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    WITH errors AS (
        SELECT job_id, finish_time, err_message, err_message LIKE 'cannot drop portal % while it is being set up' AS harmless
        FROM timescaledb_information.job_errors
    )
    SELECT j.proc_name || coalesce(' ' || coalesce(c.view_name, j.hypertable_name), ''),
           j.schedule_interval,
           coalesce(s.last_run_status = 'Failed' AND NOT coalesce(last.harmless, false), false),
           greatest(nullif(s.last_successful_finish, '-infinity'),
                    (SELECT max(finish_time) FROM errors WHERE job_id = j.job_id AND harmless)),
           (SELECT count(*) FROM errors WHERE job_id = j.job_id AND NOT harmless),
           (SELECT err_message FROM errors WHERE job_id = j.job_id AND NOT harmless ORDER BY finish_time DESC LIMIT 1)
    FROM timescaledb_information.jobs j
    LEFT JOIN timescaledb_information.job_stats s USING (job_id)
    LEFT JOIN timescaledb_information.continuous_aggregates c
           ON j.hypertable_name IN (c.view_name, c.materialization_hypertable_name)
    LEFT JOIN LATERAL (
        SELECT harmless FROM errors WHERE job_id = j.job_id ORDER BY finish_time DESC LIMIT 1
    ) AS last ON true
    WHERE j.job_id >= 1000 ORDER BY 1
$function$;
REVOKE EXECUTE ON FUNCTION job_states() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION job_states() TO nexus_reader;
GRANT EXECUTE ON FUNCTION job_states() TO nexus_writer;

-- 052_alarm_clock.sql
-- A gateway whose clock was ahead by years would say an alarm's last word until then: an event from the future gives way.
-- And who put an alarm into its state stays known with the state, though what happens below it meanwhile is nobody's doing.
CREATE FUNCTION keep_alarm_states()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
BEGIN
    INSERT INTO alarm_states AS known
    SELECT DISTINCT ON (topic) time, topic, device, tag, name, occurrence, state, since, event, active, acknowledged,
        value, value_str, "limit", unit, priority, text, response,
        first_value(by) OVER (PARTITION BY topic, state, since ORDER BY by IS NULL, time DESC),
        first_value(reason) OVER (PARTITION BY topic, state, since ORDER BY by IS NULL, time DESC), until
    FROM arrived ORDER BY topic, time DESC
    ON CONFLICT (topic) DO UPDATE SET
        time = excluded.time, occurrence = excluded.occurrence, state = excluded.state, since = excluded.since,
        event = excluded.event, active = excluded.active, acknowledged = excluded.acknowledged,
        value = excluded.value, value_str = excluded.value_str, "limit" = excluded."limit", unit = excluded.unit,
        priority = excluded.priority, text = excluded.text, response = excluded.response,
        by = CASE WHEN excluded.by IS NULL AND (known.state, known.since) = (excluded.state, excluded.since)
            THEN known.by ELSE excluded.by END,
        reason = CASE WHEN excluded.by IS NULL AND (known.state, known.since) = (excluded.state, excluded.since)
            THEN known.reason ELSE excluded.reason END,
        until = excluded.until
    WHERE known.time < excluded.time OR known.time > now() + interval '1 hour';
    RETURN NULL;
END
$function$;
REVOKE EXECUTE ON FUNCTION keep_alarm_states() FROM PUBLIC;

-- 049_reject_tried.sql
CREATE FUNCTION keep_taken_rejects(ids bigint[])
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    UPDATE rejects SET retry = NULL, tried = now() WHERE id = ANY (ids) AND retry = 'infinity'
$function$;
REVOKE EXECUTE ON FUNCTION keep_taken_rejects(ids bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keep_taken_rejects(ids bigint[]) TO nexus_writer;

-- 021_retention.community.sql
-- Where the readings begin that retention keeps; a day that is partly older is kept whole.
CREATE FUNCTION kept_from()
 RETURNS timestamp with time zone
 LANGUAGE sql
 STABLE
AS $function$
    SELECT now() - make_interval(days => (config->>'metrics')::int)
    FROM timescaledb_information.jobs WHERE proc_name = 'drop_old_chunks'
$function$;

-- 022_late_before.community.sql
-- What is older than this is late. The policies look back a day longer than that: what is on time now is still refreshed
-- when they are late, or have failed for a while.
-- Who connects while the database is restored sees no hypertables, to the connection's end: rows would be lost, and the
-- ingester asks here before it writes any.
CREATE FUNCTION late_before()
 RETURNS timestamp with time zone
 LANGUAGE plpgsql
 STABLE
AS $function$
BEGIN
    IF current_setting('timescaledb.restoring', true) = 'on' THEN
        RAISE EXCEPTION USING ERRCODE = 'cannot_connect_now', MESSAGE = 'the database is being restored';
    END IF;
    RETURN greatest(
        (SELECT max(range_end) FROM timescaledb_information.chunks
         WHERE hypertable_name = 'metrics' AND is_compressed
           AND (SELECT indisunique FROM pg_index WHERE indexrelid = 'metrics_topic_time'::regclass)),
        (SELECT now() - (j.config->>'start_offset')::interval + INTERVAL '1 day'
         FROM timescaledb_information.jobs j
         JOIN timescaledb_information.continuous_aggregates c
           ON j.hypertable_name IN (c.view_name, c.materialization_hypertable_name)
         WHERE j.proc_name = 'policy_refresh_continuous_aggregate' AND c.view_name = 'metrics_1min')
    );
END
$function$;

-- 035_late_refused.community.sql
-- A late row in our own format of messages, as a reject keeps it: of a megabyte, the first.
CREATE FUNCTION late_payload(late metrics)
 RETURNS bytea
 LANGUAGE sql
 STABLE
AS $function$
    SELECT substring(convert_to((jsonb_strip_nulls(jsonb_build_object('u', left(late.unit, 1000000)))
        || jsonb_build_object('ts', round(extract(epoch FROM late.time) * 1000)::bigint, 'q', late.quality, 'v',
               CASE WHEN late.value_str IS NULL THEN to_jsonb(late.value)
                    WHEN late.value IS NULL OR late.value_str !~ '^-?\d{1,255}$'
                        THEN to_jsonb(left(late.value_str, 1000000))
                    ELSE to_jsonb(late.value_str::numeric) END))::text, 'UTF8') FROM 1 FOR 1000000)
$function$;

-- 053_notifications.sql
-- Of all consoles one sends: whose session holds this lock, on which it also writes. It is the session's, so it goes with it.
CREATE FUNCTION lead_notifications()
 RETURNS boolean
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    SELECT pg_try_advisory_lock(53, 1)
$function$;
REVOKE EXECUTE ON FUNCTION lead_notifications() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lead_notifications() TO nexus_console;

-- 037_late_refresh.community.sql
-- Moves late rows to where they belong, a day a transaction, and computes the rollups of what they touched. Times are cut
-- by UTC, as the aggregates are, whatever the time zone of the server. Ranges with a refused row that has to wait are
-- passed over: they stay, and the job fails at its end.
CREATE PROCEDURE merge_late(IN job_id integer DEFAULT NULL::integer, IN config jsonb DEFAULT NULL::jsonb)
 LANGUAGE plpgsql
AS $procedure$
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
$procedure$;
REVOKE EXECUTE ON PROCEDURE merge_late(IN job_id integer, IN config jsonb) FROM PUBLIC;

-- 029_book.sql
-- The ranges that overlap what comes. Whatever the planner knows, each is looked up in the index: all else has no bound.
CREATE FUNCTION overlapping(publishers text[], firsts bigint[], lasts bigint[])
 RETURNS TABLE(publisher text, first bigint, last bigint)
 LANGUAGE sql
 STABLE
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
    SELECT found.publisher, found.first, found.last
    FROM unnest(publishers, firsts, lasts) AS came (publisher, first, last)
    CROSS JOIN LATERAL (
        (SELECT c.* FROM committed AS c
         WHERE c.publisher = came.publisher AND c.first <= came.first ORDER BY c.first DESC LIMIT 1)
        UNION ALL
        SELECT c.* FROM committed AS c
        WHERE c.publisher = came.publisher AND c.first > came.first AND c.first <= came.last
    ) AS found
    WHERE found.last >= came.first
$function$;
REVOKE EXECUTE ON FUNCTION overlapping(publishers text[], firsts bigint[], lasts bigint[]) FROM PUBLIC;

-- 039_plant_days.community.sql
-- The plant's days that meet a range of time, from midnight to midnight: of 23 to 25 hours.
CREATE FUNCTION plant_days(start timestamp with time zone, stop timestamp with time zone)
 RETURNS TABLE(first timestamp with time zone, after timestamp with time zone)
 LANGUAGE sql
 STABLE
AS $function$
    SELECT day AT TIME ZONE plant_time_zone(), (day + INTERVAL '1 day') AT TIME ZONE plant_time_zone()
    FROM generate_series(date_trunc('day', start AT TIME ZONE plant_time_zone()),
                         (stop AT TIME ZONE plant_time_zone()) - INTERVAL '1 microsecond', INTERVAL '1 day') AS day
$function$;

-- 039_plant_days.community.sql
-- Whose days the daily values are: NEXUS_TIME_ZONE, set by `nexus db migrate`, which makes `metrics_1day` anew.
CREATE FUNCTION plant_time_zone()
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
AS $function$ SELECT 'UTC' $function$;

-- 056_notification_recipients.sql
-- Where nobody sends any more, what is too old to be told goes, a little with each event.
CREATE FUNCTION queue_notifications()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
BEGIN
    IF EXISTS (SELECT FROM notification_sender WHERE wanted_until > now()) THEN
        INSERT INTO notification_queue (time, topic, device, tag, name, occurrence, state, since, event, active,
            acknowledged, value, value_str, "limit", unit, priority, text, response, by, reason, until)
        SELECT time, topic, device, tag, name, occurrence, state, since, event, active,
            acknowledged, value, value_str, "limit", unit, priority, text, response, by, reason, until
        FROM arrived WHERE event <> 'comment' ORDER BY time;
    ELSE
        DELETE FROM notification_queue WHERE id = ANY (ARRAY(
            SELECT id FROM notification_queue WHERE stored < now() - interval '7 days'
            ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED
        ));
    END IF;
    RETURN NULL;
END
$function$;
REVOKE EXECUTE ON FUNCTION queue_notifications() FROM PUBLIC;

-- 045_days_boundary.community.sql
CREATE PROCEDURE refresh_day(IN day timestamp with time zone, INOUT refreshed integer DEFAULT 0)
 LANGUAGE plpgsql
AS $procedure$
DECLARE
    after CONSTANT timestamptz := day + INTERVAL '24 hours';
    finer CONSTANT name := days_made_from();
    stored bigint;
    aggregate name;
    part record;
BEGIN
    refreshed := 0;
    SELECT count(*) INTO stored FROM metrics WHERE time >= day AND time < after;
    FOREACH aggregate IN ARRAY ARRAY['metrics_1min', 'metrics_1hour']::name[] LOOP
        IF rolled_up(aggregate, day, after) < stored THEN
            CALL refresh_range(aggregate::regclass, day, after, 60);
            refreshed := refreshed + 1;
        END IF;
    END LOOP;
    FOR part IN SELECT * FROM plant_days(day, after) AS days WHERE days.first >= days_computed_from() LOOP
        IF rolled_up('metrics_1day', part.first, part.after) < rolled_up(finer, part.first, part.after) THEN
            CALL refresh_range('metrics_1day', part.first, part.after, 60);
            refreshed := refreshed + 1;
        END IF;
    END LOOP;
END
$procedure$;
REVOKE EXECUTE ON PROCEDURE refresh_day(IN day timestamp with time zone, INOUT refreshed integer) FROM PUBLIC;

-- 021_retention.community.sql
-- Refreshes `batch` buckets a transaction. TimescaleDB's own 10 make a day of minutes 144 transactions, however few
-- readings it has; versions before 2.29 do all in one, and have no such option.
CREATE PROCEDURE refresh_range(IN aggregate regclass, IN first timestamp with time zone, IN after timestamp with time zone, IN batch integer)
 LANGUAGE plpgsql
AS $procedure$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_proc WHERE proname = 'refresh_continuous_aggregate' AND 'options' = ANY (proargnames)) THEN
        CALL refresh_continuous_aggregate(
            aggregate, first, after, options => jsonb_build_object('buckets_per_batch', batch));
    ELSE
        CALL refresh_continuous_aggregate(aggregate, first, after);
    END IF;
END
$procedure$;
REVOKE EXECUTE ON PROCEDURE refresh_range(IN aggregate regclass, IN first timestamp with time zone, IN after timestamp with time zone, IN batch integer) FROM PUBLIC;

-- 045_days_boundary.community.sql
-- As before, but days from before that are left; and so is what TimescaleDB has computed for no topic yet, and will compute
-- for all: were it written for some, the view would show it of these only.
CREATE FUNCTION refresh_topics(aggregate name, topics text[], first timestamp with time zone, after timestamp with time zone)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
DECLARE
    materialized text;
    computed text;
    live timestamptz;
    buckets text;
BEGIN
    IF aggregate = 'metrics_1day' THEN
        SELECT min(days.first), max(days.after) INTO first, after FROM plant_days(first, after) AS days
        WHERE days.first >= days_computed_from();
    END IF;
    SELECT format('%I.%I', h.schema_name, h.table_name), format('%I.%I', c.partial_view_schema, c.partial_view_name),
           greatest(_timescaledb_functions.to_timestamp(_timescaledb_functions.cagg_watermark(h.id)), now() - INTERVAL '2 days')
    INTO STRICT materialized, computed, live
    FROM _timescaledb_catalog.continuous_agg c JOIN _timescaledb_catalog.hypertable h ON h.id = c.mat_hypertable_id
    WHERE c.user_view_schema = current_schema() AND c.user_view_name = aggregate;
    buckets := format('topic = ANY ($1) AND bucket >= %L AND bucket < %L', first, least(after, live));
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', materialized);
    EXECUTE format($sql$
        WITH computed AS MATERIALIZED (SELECT * FROM %2$s WHERE %3$s), fuller AS (
            SELECT topic, bucket FROM %1$s AS old JOIN computed USING (topic, bucket)
            WHERE %3$s AND old.count > computed.count
        ), replaced AS (
            DELETE FROM %1$s AS old USING computed
            WHERE old.topic = computed.topic AND old.bucket = computed.bucket AND old.count <= computed.count
        )
        INSERT INTO %1$s SELECT * FROM computed
        WHERE NOT EXISTS (SELECT FROM fuller WHERE fuller.topic = computed.topic AND fuller.bucket = computed.bucket)
        $sql$, materialized, computed, buckets) USING topics;
END
$function$;
REVOKE EXECUTE ON FUNCTION refresh_topics(aggregate name, topics text[], first timestamp with time zone, after timestamp with time zone) FROM PUBLIC;

-- 021_retention.community.sql
-- How many readings an aggregate holds, without those that its view would add from finer ones.
CREATE FUNCTION rolled_up(aggregate name, first timestamp with time zone, after timestamp with time zone)
 RETURNS bigint
 LANGUAGE plpgsql
 STABLE
AS $function$
DECLARE
    source text;
    found bigint;
BEGIN
    SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name) INTO STRICT source
    FROM timescaledb_information.continuous_aggregates WHERE view_name = aggregate;
    EXECUTE format('SELECT coalesce(sum(count), 0) FROM %s WHERE bucket >= $1 AND bucket < $2', source)
    INTO found USING first, after;
    RETURN found;
END
$function$;

-- 035_late_refused.community.sql
-- Sets aside rows that are in the table with another value; those with the same are repetitions. So many a day: rejects
-- must not fill the disk that the readings need.
CREATE FUNCTION set_conflicts_aside(came metrics[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
DECLARE
    most_a_day CONSTANT int := 100000;
    said CONSTANT text := 'the same topic has another value at the same time already';
    earliest CONSTANT timestamptz := (SELECT min(time) FROM unnest(came));
    latest CONSTANT timestamptz := (SELECT max(time) FROM unnest(came));
    room int;
BEGIN
    SELECT most_a_day - count(*) INTO room FROM rejects WHERE reason = said AND time > now() - INTERVAL '1 day';
    INSERT INTO rejects (topic, payload, reason, tags, key)
    SELECT topic, payload, said, '{}', md5(convert_to(topic || chr(1), 'UTF8') || payload)::uuid FROM (
        SELECT late.topic, late_payload(late)
        FROM unnest(came) AS late
        JOIN metrics AS stored ON stored.topic = late.topic AND stored.time = late.time
        WHERE stored.time >= earliest AND stored.time <= latest
          AND (stored.value, stored.value_str, stored.quality)
              IS DISTINCT FROM (late.value, late.value_str, late.quality)
        LIMIT greatest(0, room)
    ) AS conflicts (topic, payload)
    ON CONFLICT DO NOTHING;
END
$function$;

-- 036_late_refused_row.community.sql
CREATE FUNCTION set_refused_aside(refused tid, why text)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
DECLARE
    most_a_day CONSTANT int := 100000;
BEGIN
    IF most_a_day <= (
        SELECT count(*) FROM rejects
        WHERE reason LIKE 'the database refused the late row: %' AND time > now() - INTERVAL '1 day'
    ) THEN
        RETURN false;
    END IF;
    WITH gone AS (
        DELETE FROM metrics_late WHERE ctid = refused RETURNING time, topic, value, value_str, quality, unit
    )
    INSERT INTO rejects (topic, payload, reason, tags, key)
    SELECT topic, payload, left('the database refused the late row: ' || why, 500), '{}',
           md5(convert_to(topic || chr(1), 'UTF8') || payload)::uuid
    FROM (
        SELECT topic, late_payload(ROW(time, topic, value, value_str, quality, unit)::metrics) FROM gone
    ) AS late (topic, payload)
    ON CONFLICT DO NOTHING;
    RETURN true;
END
$function$;

-- 021_retention.community.sql
-- The days that have chunks.
CREATE FUNCTION stored_days(before timestamp with time zone)
 RETURNS SETOF timestamp with time zone
 LANGUAGE sql
 STABLE
AS $function$
    SELECT DISTINCT day FROM timescaledb_information.chunks,
        generate_series(time_bucket('1 day', range_start), range_end - INTERVAL '1 microsecond', INTERVAL '24 hours') AS day
    WHERE hypertable_name = 'metrics' AND range_end <= before ORDER BY day
$function$;

-- 044_reject_retry.sql
-- Takes some, each once: one that is refused again waits until it is asked for again.
CREATE FUNCTION take_rejects(most integer)
 RETURNS TABLE(id bigint, topic text, source text, tags text[], payload bytea, arrived bigint)
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    WITH taken AS (
        SELECT r.id FROM rejects AS r WHERE r.retry < 'infinity' ORDER BY r.id LIMIT most FOR UPDATE SKIP LOCKED
    )
    UPDATE rejects AS r SET retry = 'infinity' FROM taken WHERE r.id = taken.id
    RETURNING r.id, r.topic, coalesce(r.source, r.topic), r.tags, r.payload, (extract(epoch FROM r.time) * 1000)::bigint
$function$;
REVOKE EXECUTE ON FUNCTION take_rejects(most integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION take_rejects(most integer) TO nexus_writer;

-- Jobs, with the ages that are the default

-- compress_old_chunks, every 12:00:00: {"compress_after": "7 days"}
-- drop_old_chunks, every 01:00:00: {"metrics": 90, "metrics_1min": 365, "metrics_1hour": 1825}
-- drop_old_records, every 1 day: {"audit": 730, "rejects": 90, "alarm_events": 730, "completeness": 730, "console_audit": 730}
-- forget_committed, every 1 day: {"days": 90}
-- merge_late, every 00:00:10
-- policy_refresh_continuous_aggregate of metrics_1day, every 01:00:00: {"end_offset": "1 day", "start_offset": "11 days"}
-- policy_refresh_continuous_aggregate of metrics_1hour, every 00:10:00: {"end_offset": "01:00:00", "start_offset": "9 days"}
-- policy_refresh_continuous_aggregate of metrics_1min, every 00:01:00: {"end_offset": "00:01:00", "start_offset": "8 days"}
