-- name: table
-- How far the relay has copied the log to Kafka: everything up to this position is acknowledged. prevs holds the last
-- position of each partition. One row.
CREATE TABLE IF NOT EXISTS relay (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    incarnation BYTEA NOT NULL,
    position BIGINT NOT NULL,
    stored_us BIGINT NOT NULL,
    prevs BIGINT[] NOT NULL
)

-- name: log
SELECT position, incarnation FROM log_head

-- name: place
SELECT incarnation, position, stored_us, prevs FROM relay

-- name: begin
INSERT INTO relay (one, incarnation, position, stored_us, prevs) VALUES (1, %s, 0, 0, %s) ON CONFLICT DO NOTHING

-- name: move
UPDATE relay SET position = %s, stored_us = %s, prevs = %s WHERE incarnation = %s AND position = %s

-- name: page
-- Up to a number of events after a position, and no more of them than fit into a number of bytes; at least one.
SELECT position, originator_id, originator_version, topic, record_key, stored_us, state FROM (
    SELECT *, sum(octet_length(state)) OVER (ORDER BY position) - octet_length(state) AS before FROM (
        SELECT position, originator_id, originator_version, topic, record_key, stored_us, state
        FROM events WHERE position > %s ORDER BY position LIMIT %s
    ) AS page
) AS measured WHERE before < %s ORDER BY position

-- name: take_lease
SELECT pg_try_advisory_lock(%s)

-- name: adopt
-- An empty log takes on the name of the copy that it is restored from.
UPDATE log_head SET incarnation = %s WHERE position = 0 RETURNING position, incarnation

-- name: set
-- After a restore: everything that was read back is on Kafka.
INSERT INTO relay (one, incarnation, position, stored_us, prevs) VALUES (1, %s, %s, %s, %s)
ON CONFLICT (one) DO UPDATE SET incarnation = excluded.incarnation, position = excluded.position,
    stored_us = excluded.stored_us, prevs = excluded.prevs

-- name: take_turn
SELECT pg_advisory_xact_lock(%s)

-- name: end
-- Where the log ends, and how far it is copied.
SELECT h.incarnation, h.position, e.stored_us, r.incarnation, r.position, r.stored_us
FROM log_head h LEFT JOIN events e ON e.position = h.position LEFT JOIN relay r ON true

-- name: contents
SELECT position, originator_id, originator_version, sha256(state) FROM events WHERE position = ANY(%s)

-- name: keys_between
SELECT position, record_key FROM events WHERE position > %s AND position <= %s ORDER BY position
