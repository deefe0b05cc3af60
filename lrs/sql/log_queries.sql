-- Named queries of those who read the log, the same on SQLite and PostgreSQL. `?` is a parameter, `??` a list.

-- name: head
SELECT position, stored_us FROM log_head
-- name: incarnation
SELECT incarnation FROM log_head

-- name: statements_by_id
SELECT e.position, e.originator_id, e.stored_us, e.state, s.voided
FROM events e JOIN statement s ON s.position = e.position
WHERE e.originator_version = 1 AND e.originator_id IN (??)
-- name: statements_at
SELECT e.position, e.originator_id, e.stored_us, e.state FROM events e WHERE e.position IN (??)
-- name: position_stored_by
SELECT position FROM events WHERE stored_us <= ? ORDER BY stored_us DESC LIMIT 1

-- name: events_after
SELECT position, originator_id, originator_version, topic, record_key, stored_us, state
FROM events WHERE position > ? ORDER BY position LIMIT ?
-- name: newest_of_streams
SELECT e.originator_id, e.originator_version, e.state FROM events e
WHERE e.originator_id IN (??) AND e.originator_version =
(SELECT max(n.originator_version) FROM events n WHERE n.originator_id = e.originator_id)
-- name: heads_of_streams
SELECT originator_id, max(originator_version), max(position) FROM events WHERE originator_id IN (??) GROUP BY originator_id
-- name: streams
SELECT position, originator_id, originator_version, topic, record_key, stored_us, state
FROM events WHERE originator_id IN (??)
-- name: stream_newest
SELECT max(originator_version) FROM events WHERE originator_version > ? AND originator_id IN (??)
-- name: stream_between
SELECT position, originator_id, originator_version, topic, record_key, stored_us, state
FROM events WHERE originator_version > ? AND originator_version <= ? AND originator_id IN (??) ORDER BY originator_version

-- name: person_states
SELECT pseudonym, purpose, state FROM person_state WHERE pseudonym IN (??)
-- name: people_with_state
SELECT pseudonym, purpose, state FROM person_state WHERE state = ?
-- name: events_about
SELECT e.position, e.originator_id, e.originator_version, e.topic, e.record_key, e.stored_us, e.state
FROM event_people p JOIN events e ON e.position = p.position
WHERE p.pseudonym = ? AND p.position > ? ORDER BY p.position LIMIT ?
-- name: is_listed
SELECT 1 FROM term WHERE term = ? LIMIT 1
-- name: documents_of
SELECT count(*) FROM document WHERE owner = ?

-- name: documents_after
SELECT document_key, revision, substr(sealed, 1, 128) FROM document WHERE document_key > ? ORDER BY document_key LIMIT ?
-- name: document
SELECT owner, revision, updated_us, sealed FROM document WHERE document_key = ?
-- name: documents_in_scope
SELECT document_key, owner, revision, updated_us, sealed FROM document WHERE scope = ? AND updated_us > ? ORDER BY updated_us
-- name: documents_in_wide_scope
SELECT document_key, owner, revision, updated_us, sealed FROM document WHERE wide_scope = ? AND updated_us > ? ORDER BY updated_us

-- name: blobs_at
SELECT blob_id FROM blob WHERE position IN (??)
-- name: blobs_known
SELECT blob_id FROM blob WHERE blob_id IN (??)

-- name: index_statements
SELECT position, terms, target, voided FROM statement WHERE position > ? ORDER BY position LIMIT ?
-- name: index_inherited
SELECT term, position, source FROM term
WHERE (term, position, source) > (?, ?, ?) AND source <> position ORDER BY term, position, source LIMIT ?
