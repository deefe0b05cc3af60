-- What the doctor asks a store, so that it can look through everything there.

-- name: sqlite_tables
SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0 ORDER BY name

-- name: postgres_tables
SELECT n.nspname, c.relname, array_agg(a.attname::text ORDER BY a.attnum)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'm') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
GROUP BY n.nspname, c.relname
ORDER BY n.nspname, c.relname

-- name: postgres_names
SELECT 'database', datname::text FROM pg_database
UNION ALL SELECT 'role', rolname::text FROM pg_roles
UNION ALL SELECT 'application', application_name FROM pg_stat_activity
UNION ALL SELECT 'query', query FROM pg_stat_activity WHERE pid <> pg_backend_pid()
UNION ALL SELECT 'schema', nspname::text FROM pg_namespace
UNION ALL SELECT 'table', relname::text FROM pg_class
UNION ALL SELECT 'column', attname::text FROM pg_attribute
UNION ALL SELECT 'function', prosrc FROM pg_proc WHERE pronamespace <> 'pg_catalog'::regnamespace

-- name: postgres_remarks
SELECT 'remark', description FROM pg_description
UNION ALL SELECT 'remark', description FROM pg_shdescription

-- name: postgres_large_objects
SELECT count(*) FROM pg_largeobject_metadata

-- name: postgres_size
SELECT pg_database_size(current_database())
