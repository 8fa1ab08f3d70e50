-- Roles belong to the whole server: another database of it may have made this one already.
DO $$
BEGIN
    BEGIN
        CREATE ROLE nexus_console NOLOGIN;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL;
    END;
    IF NOT pg_has_role('nexus_console', 'nexus_reader', 'member') THEN
        GRANT nexus_reader TO nexus_console;
    END IF;
END
$$;

CREATE TABLE console_users (
    name     text        PRIMARY KEY,
    role     text        NOT NULL CHECK (role IN ('viewer', 'operator', 'engineer')),
    password text        NOT NULL,
    created  timestamptz NOT NULL DEFAULT now(),
    changed  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE console_users IS 'People who log in to the console with a password';
COMMENT ON COLUMN console_users.password IS 'scrypt$log2(N)$r$p$salt$key, the last two in base64';

CREATE TABLE console_keys (
    id         text        PRIMARY KEY,
    name       text        NOT NULL UNIQUE,
    role       text        NOT NULL CHECK (role IN ('viewer', 'operator', 'engineer')),
    hash       bytea       NOT NULL,
    created    timestamptz NOT NULL DEFAULT now(),
    created_by text        NOT NULL,
    expires    timestamptz,
    last_used  timestamptz
);
COMMENT ON TABLE console_keys IS 'API keys: programs that the console lets in';
COMMENT ON COLUMN console_keys.hash IS 'SHA-256 of the key, which is kept nowhere';
COMMENT ON COLUMN console_keys.last_used IS 'To the minute';

CREATE TABLE console_sessions (
    id      bytea       PRIMARY KEY,
    name    text        NOT NULL,
    account text        REFERENCES console_users ON DELETE CASCADE,
    role    text        CHECK (role IN ('viewer', 'operator', 'engineer')),
    created timestamptz NOT NULL DEFAULT now(),
    expires timestamptz NOT NULL,
    CHECK ((account IS NULL) <> (role IS NULL))
);
CREATE INDEX console_sessions_account ON console_sessions (account);
COMMENT ON TABLE console_sessions IS 'Who is logged in to the console; a row that is deleted ends a session';
COMMENT ON COLUMN console_sessions.id IS 'SHA-256 of what the signed cookie holds';
COMMENT ON COLUMN console_sessions.account IS 'Of whom has a password here, and that account''s role; else the role is what the OpenID provider said';

CREATE TABLE console_secrets (
    name   text  PRIMARY KEY,
    secret bytea NOT NULL
);
COMMENT ON TABLE console_secrets IS 'What all replicas of the console sign cookies with; made by the first that starts';

CREATE TABLE console_audit (
    id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    time    timestamptz NOT NULL DEFAULT now(),
    event   text        NOT NULL,
    person  text        NOT NULL,
    via     text        NOT NULL,
    address text        NOT NULL,
    topic   text,
    old     jsonb,
    new     jsonb,
    ok      boolean,
    detail  jsonb       NOT NULL DEFAULT '{}'
);
CREATE INDEX console_audit_time ON console_audit (time);
COMMENT ON TABLE console_audit IS 'One row a login, change, write or refusal in the console; its role can add, and not change';
COMMENT ON COLUMN console_audit.via IS 'How the person was known: session, key, oidc, command (on a terminal), insecure, or none';
COMMENT ON COLUMN console_audit.ok IS 'NULL: asked for, and the outcome is another row';

GRANT SELECT, INSERT, UPDATE, DELETE ON console_users, console_keys, console_sessions TO nexus_console;
GRANT SELECT, INSERT ON console_secrets, console_audit TO nexus_console;
