-- What `nexus rules` goes on from. It is written in the transaction that takes the inputs, by whoever holds the lock of
-- the group; nobody else needs any of it, and a publisher's name is a secret.
CREATE TABLE rule_publishers (
    rule_group text   PRIMARY KEY,
    publisher  text   NOT NULL,
    last       bigint NOT NULL
);
COMMENT ON TABLE rule_publishers IS 'The name by which each group of rules numbers its messages, and the last number';

CREATE TABLE rule_states (
    rule_group text  NOT NULL,
    path       text  NOT NULL,
    state      bytea NOT NULL,
    PRIMARY KEY (rule_group, path)
) WITH (fillfactor = 50);
COMMENT ON TABLE rule_states IS 'Of each rule its clock, the newest inputs, the last results and the totals, as JSON';

CREATE TABLE rule_alarms (
    rule_group text  NOT NULL,
    topic      text  NOT NULL,
    payload    bytea NOT NULL,
    PRIMARY KEY (rule_group, topic)
) WITH (fillfactor = 50);
COMMENT ON TABLE rule_alarms IS 'The last word of each alarm of a rule';

CREATE TABLE rule_outbox (
    rule_group text    NOT NULL,
    number     bigint  NOT NULL,
    topic      text    NOT NULL,
    payload    bytea   NOT NULL,
    retain     boolean NOT NULL,
    PRIMARY KEY (rule_group, number)
);
COMMENT ON TABLE rule_outbox IS 'Messages of rules that are to be published, until ingestion has confirmed them';

DO $$
BEGIN
    CREATE ROLE nexus_rules NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;
GRANT SELECT, INSERT, UPDATE ON rule_publishers, rule_states TO nexus_rules;
GRANT SELECT, INSERT, UPDATE, DELETE ON rule_alarms TO nexus_rules;
GRANT SELECT, INSERT, DELETE ON rule_outbox TO nexus_rules;
