-- Queries of the key vault that PostgreSQL carries out for many rows at once: one array for each column.

-- name: update_key
UPDATE key SET epoch = fresh.epoch, wrapped = fresh.wrapped
FROM unnest(%b::integer[], %b::bytea[], %b::bytea[], %b::integer[], %b::integer[], %b::integer[])
    AS fresh (epoch, wrapped, owner, purpose, year, version)
WHERE key.owner = fresh.owner AND key.purpose = fresh.purpose AND key.year = fresh.year AND key.version = fresh.version
-- name: insert_identifier
INSERT INTO identifier (blind, owner, epoch, wrapped)
SELECT * FROM unnest(%b::bytea[], %b::bytea[], %b::integer[], %b::bytea[]) ON CONFLICT DO NOTHING
