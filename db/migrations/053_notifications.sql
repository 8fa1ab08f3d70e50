-- Notifications of alarms. An event is queued in the transaction that stores it, and judged by the console's routes; what
-- comes of it waits in the outbox until its receiver has it.
CREATE TABLE notification_sender (
    only_row     boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    wanted_until timestamptz NOT NULL,
    name         text        NOT NULL,
    since        timestamptz NOT NULL
);
COMMENT ON TABLE notification_sender IS 'Which console sends notifications, and until when events are queued for it';
COMMENT ON COLUMN notification_sender.wanted_until IS 'Renewed while a console sends: where none does, the queue does not grow';

CREATE TABLE notification_queue (
    id     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stored timestamptz NOT NULL DEFAULT clock_timestamp(),
    LIKE alarm_events
);
COMMENT ON TABLE notification_queue IS 'Events of alarms that the routes have not judged yet';

CREATE TABLE notification_waits (
    topic      text        NOT NULL,
    occurrence timestamptz NOT NULL,
    route      text        NOT NULL,
    step       int         NOT NULL,
    began      timestamptz NOT NULL,
    due        timestamptz NOT NULL,
    PRIMARY KEY (topic, occurrence, route, step)
);
CREATE INDEX notification_waits_due ON notification_waits (due);
COMMENT ON TABLE notification_waits IS 'Escalations: occurrences of which others are told, unless they are acknowledged before';

CREATE TABLE notifications (
    id       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created  timestamptz NOT NULL,
    receiver text        NOT NULL,
    channel  text        NOT NULL,
    route    text        NOT NULL,
    kind     text        NOT NULL CHECK (kind IN ('event', 'escalation', 'digest')),
    key      text        NOT NULL,
    topic    text        NOT NULL DEFAULT '',
    word     jsonb,
    summary  jsonb,
    late     boolean     NOT NULL DEFAULT false,
    state    text        NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'dead', 'digested')),
    due      timestamptz NOT NULL,
    expires  timestamptz NOT NULL,
    attempts int         NOT NULL DEFAULT 0,
    settled  timestamptz,
    answer   text        NOT NULL DEFAULT '',
    digest   bigint,
    UNIQUE (key, receiver)
);
CREATE INDEX notifications_pending ON notifications (receiver, id) WHERE state = 'pending';
CREATE INDEX notifications_due ON notifications (receiver, due) WHERE state = 'pending';
CREATE INDEX notifications_waiting ON notifications (created) WHERE state = 'pending';
CREATE INDEX notifications_expires ON notifications (receiver, expires) WHERE state = 'pending';
CREATE INDEX notifications_of_alarm ON notifications (receiver, topic, id) WHERE state = 'pending';
CREATE INDEX notifications_settled ON notifications (settled);
CREATE INDEX notifications_digest ON notifications (digest) WHERE digest IS NOT NULL;
CREATE INDEX notifications_dead ON notifications (id) WHERE state = 'dead';
COMMENT ON TABLE notifications IS 'The outbox: one row a notification and receiver';
COMMENT ON COLUMN notifications.key IS 'Goes with the notification; one that is sent twice has the same';
COMMENT ON COLUMN notifications.word IS 'The event, as it travels on the alarm''s topic';
COMMENT ON COLUMN notifications.summary IS 'Of a digest: how many it stands for, and the most frequent';
COMMENT ON COLUMN notifications.due IS 'When it is tried next';
COMMENT ON COLUMN notifications.expires IS 'When it is given up: it is dead then, and may be tried again';
COMMENT ON COLUMN notifications.settled IS 'When it was sent, given up, or taken into a digest';
COMMENT ON COLUMN notifications.answer IS 'What the receiver said last';
COMMENT ON COLUMN notifications.digest IS 'The digest by which it was told';

CREATE TABLE notification_attempts (
    notification bigint      NOT NULL REFERENCES notifications ON DELETE CASCADE,
    number       int         NOT NULL,
    time         timestamptz NOT NULL,
    seconds      float4      NOT NULL,
    sent         boolean     NOT NULL,
    answer       text        NOT NULL,
    PRIMARY KEY (notification, number)
);
COMMENT ON TABLE notification_attempts IS 'Each attempt to send a notification, and what the receiver said';

CREATE FUNCTION queue_notifications() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF EXISTS (SELECT FROM notification_sender WHERE wanted_until > now()) THEN
        INSERT INTO notification_queue (time, topic, device, tag, name, occurrence, state, since, event, active,
            acknowledged, value, value_str, "limit", unit, priority, text, response, by, reason, until)
        SELECT time, topic, device, tag, name, occurrence, state, since, event, active,
            acknowledged, value, value_str, "limit", unit, priority, text, response, by, reason, until
        FROM arrived WHERE event <> 'comment' ORDER BY time;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_notifications AFTER INSERT ON alarm_events
REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION queue_notifications();

-- Of all consoles one sends: whose session holds this lock, on which it also writes. It is the session's, so it goes with it.
CREATE FUNCTION lead_notifications() RETURNS boolean LANGUAGE sql SECURITY DEFINER AS $$
    SELECT pg_try_advisory_lock(53, 1)
$$;

DO $$
DECLARE
    called regprocedure;
BEGIN
    FOREACH called IN ARRAY ARRAY['queue_notifications()', 'lead_notifications()']::regprocedure[] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', called, current_schema());
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION queue_notifications, lead_notifications FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lead_notifications TO nexus_console;
GRANT SELECT, INSERT, UPDATE ON notification_sender TO nexus_console;
GRANT SELECT, DELETE ON notification_queue TO nexus_console;
GRANT SELECT, INSERT, DELETE ON notification_waits TO nexus_console;
GRANT SELECT, INSERT, UPDATE, DELETE ON notifications TO nexus_console;
GRANT SELECT, INSERT ON notification_attempts TO nexus_console;
