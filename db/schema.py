"""Prints the current schema as readable SQL, from a migrated database, with its migrations' comments."""

import re
from collections.abc import Iterator

from db.migrate import Connection, Tier, migration_files, tier

_HEAD = """\
-- What `nexus db migrate` makes of an empty database on the tier "{tier}". To be read, not run: `make schema` writes it
-- from db/migrations; a comment above an object names the last migration that defines it.
"""
_MADE = r"CREATE (?:OR REPLACE )?(?:UNIQUE )?(?:TABLE|(?:MATERIALIZED )?VIEW|FUNCTION|PROCEDURE) (\w+)"
_DEFINITION = re.compile(rf"((?:^--[^\n]*\n)*)^{_MADE}", re.MULTILINE)

_TABLES = """
SELECT one.oid, one.relname::text FROM pg_class AS one
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = one.oid AND deptype = 'e')
ORDER BY relname
"""
_COLUMNS = """
SELECT attname::text, format_type(atttypid, atttypmod), attnotnull, attidentity::text, pg_get_expr(adbin, adrelid),
       col_description(attrelid, attnum)
FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_CONSTRAINTS = """
SELECT pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = %s AND contype IN ('p', 'u', 'c', 'f') ORDER BY contype DESC, conname
"""
_INDEXES = """
SELECT pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = %s AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
ORDER BY pg_get_indexdef(indexrelid) COLLATE "C"
"""
_TRIGGERS = """
SELECT pg_get_triggerdef(one.oid) FROM pg_trigger AS one JOIN pg_proc AS called ON called.oid = tgfoid
WHERE tgrelid = %s AND NOT tgisinternal AND pronamespace = 'public'::regnamespace ORDER BY tgname
"""
_VIEWS = """
SELECT one.oid, one.relname::text, pg_get_viewdef(one.oid, true) FROM pg_class AS one
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('v', 'm')
  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = one.oid AND deptype = 'e')
ORDER BY relname
"""
_FUNCTIONS = """
SELECT one.oid, one.proname::text, pg_get_functiondef(one.oid), prokind::text,
       format('%s(%s)', one.proname, pg_get_function_identity_arguments(one.oid)), one.proacl IS NOT NULL
FROM pg_proc AS one
WHERE pronamespace = 'public'::regnamespace AND prokind IN ('f', 'p')
  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = one.oid AND deptype = 'e')
ORDER BY proname, 5
"""
_RIGHTS = """
SELECT string_agg(privilege_type, ', ' ORDER BY privilege_type),
       CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee)::text END
FROM aclexplode((SELECT {1} FROM {0} WHERE oid = %s)) AS acl
WHERE grantee <> grantor GROUP BY 2 ORDER BY 2
"""
_HYPERTABLES = """
SELECT hypertable_name::text, column_name::text, time_interval::text FROM timescaledb_information.dimensions
WHERE hypertable_schema = 'public' ORDER BY hypertable_name
"""
_AGGREGATES = """
SELECT view_name::text, view_definition, materialized_only FROM timescaledb_information.continuous_aggregates ORDER BY 1
"""
_COLUMNSTORE = """
SELECT segmentby, orderby FROM timescaledb_information.hypertable_columnstore_settings WHERE hypertable::text = %s
"""
_JOBS = """
SELECT proc_name::text, coalesce(c.view_name, j.hypertable_name)::text, schedule_interval::text,
       (j.config - ARRAY['hypertable_id', 'mat_hypertable_id'])::text
FROM timescaledb_information.jobs AS j LEFT JOIN timescaledb_information.continuous_aggregates AS c
  ON j.hypertable_name IN (c.view_name, c.materialization_hypertable_name)
WHERE job_id >= 1000 ORDER BY j.proc_name, 2
"""


def rendered(connection: Connection) -> str:
    """The schema of a migrated database; the same for the same migrations and server."""
    found = tier(connection)
    origins = _origins(found)
    parts = [_HEAD.format(tier=found)]
    parts += ["-- Tables\n", *_tables(connection, origins)]
    parts += ["-- Views\n", *_views(connection, origins, found)]
    parts += ["-- Functions and procedures\n", *_functions(connection, origins)]
    if found is Tier.COMMUNITY:
        parts += ["-- Jobs, with the ages that are the default\n", _jobs(connection)]
    return "\n".join(parts)


def _origins(found: Tier) -> dict[str, str]:
    """By name of an object: the last migration that defines it, and the comment above it there."""
    origins = {}
    for file in migration_files(found):
        for comment, name in _DEFINITION.findall(file.read_text(encoding="utf-8")):
            origins[name] = f"-- {file.name}\n{comment}"
    return origins


def _tables(connection: Connection, origins: dict[str, str]) -> Iterator[str]:
    found, hypertables = tier(connection), {}
    if found is not Tier.PLAIN:
        hypertables = {str(name): (column, every) for name, column, every in connection.execute(_HYPERTABLES)}
    for oid, name in connection.execute(_TABLES).fetchall():
        columns, comments = [], []
        for column, kind, is_required, identity, default, comment in connection.execute(_COLUMNS, (oid,)):
            line = f"    {column} {kind}" + (" NOT NULL" if is_required else "")
            line += f" DEFAULT {default}" if default else ""
            columns.append(line + (" GENERATED ALWAYS AS IDENTITY" if identity else ""))
            comments += [f"COMMENT ON COLUMN {name}.{column} IS {_quoted(comment)};"] if comment else []
        columns += [f"    {definition}" for (definition,) in connection.execute(_CONSTRAINTS, (oid,))]
        lines = [f"CREATE TABLE {name} (", ",\n".join(columns), ");"]
        if name in hypertables:
            column, every = hypertables[str(name)]
            lines.append(f"-- A hypertable by {column}, in chunks of {every}.")
        if found is Tier.COMMUNITY:
            stored = connection.execute(_COLUMNSTORE, (name,)).fetchall()
            lines += [f"-- Its columnstore: segmented by {segment}, ordered by {order}." for segment, order in stored]
        for (index,) in connection.execute(_INDEXES, (oid,)):
            lines.append(f"{index};".replace(" public.", " ").replace(" USING btree", ""))
        for (trigger,) in connection.execute(_TRIGGERS, (oid,)):
            lines.append(f"{trigger};".replace(" public.", " "))
        yield _with_rights(connection, origins, oid, str(name), [*lines, *comments])


def _views(connection: Connection, origins: dict[str, str], found: Tier) -> Iterator[str]:
    aggregates = {}
    if found is Tier.COMMUNITY:
        aggregates = {str(name): (text, only) for name, text, only in connection.execute(_AGGREGATES)}
    for oid, name, query in connection.execute(_VIEWS).fetchall():
        kind, text = "VIEW", query
        if name in aggregates:
            text, only = aggregates[str(name)]
            kind = f"MATERIALIZED VIEW /* continuous aggregate, {'materialized only' if only else 'real-time'} */"
        lines = [f"CREATE {kind} {name} AS\n{str(text).rstrip()}"]
        yield _with_rights(connection, origins, oid, str(name), lines)


def _functions(connection: Connection, origins: dict[str, str]) -> Iterator[str]:
    for oid, name, text, kind, signature, has_rights in connection.execute(_FUNCTIONS).fetchall():
        word = "PROCEDURE" if kind == "p" else "FUNCTION"
        lines = [f"{str(text).rstrip()};".replace(f"CREATE OR REPLACE {word} public.", f"CREATE {word} ")]
        rights = list(_rights(connection, "pg_proc", oid, f"{word} {signature}"))
        if has_rights and not any(line.endswith(" PUBLIC;") for line in rights):
            rights.insert(0, f"REVOKE EXECUTE ON {word} {signature} FROM PUBLIC;")
        yield origins.get(str(name), "") + "\n".join([*lines, *rights]) + "\n"


def _with_rights(connection: Connection, origins: dict[str, str], oid: object, name: str, lines: list[str]) -> str:
    comment = connection.execute("SELECT obj_description(%s, 'pg_class')", (oid,)).fetchone()
    if comment and comment[0]:
        lines.append(f"COMMENT ON {'VIEW' if 'VIEW' in lines[0] else 'TABLE'} {name} IS {_quoted(comment[0])};")
    lines += _rights(connection, "pg_class", oid, name)
    return origins.get(name, "") + "\n".join(lines) + "\n"


def _rights(connection: Connection, catalog: str, oid: object, name: str) -> Iterator[str]:
    column = "proacl" if catalog == "pg_proc" else "relacl"
    for rights, role in connection.execute(_RIGHTS.format(catalog, column).encode(), (oid,)):
        yield f"GRANT {rights} ON {name} TO {role};"


def _jobs(connection: Connection) -> str:
    lines = []
    for name, relation, every, config in connection.execute(_JOBS):
        what = f"{name} of {relation}" if relation else name
        lines.append(f"-- {what}, every {every}" + (f": {config}" if config else ""))
    return "\n".join(lines) + "\n"


def _quoted(text: object) -> str:
    return "'" + str(text).replace("'", "''") + "'"
