-- Named queries of the key vault, the same on SQLite and PostgreSQL. `?` is a parameter, `??` a list of them.

-- name: insert_vault
INSERT INTO vault (one, vault_id, changes) VALUES (1, ?, 0) ON CONFLICT DO NOTHING
-- name: vault_id
SELECT vault_id FROM vault
-- name: changes
SELECT changes, (SELECT max(epoch) FROM epoch) FROM vault
-- name: count_change
UPDATE vault SET changes = changes + 1
-- name: note_change
INSERT INTO change (number, owner) SELECT changes, ? FROM vault WHERE true ON CONFLICT DO NOTHING
-- name: changes_after
SELECT number, owner FROM change WHERE number > ? AND number <= ? ORDER BY number LIMIT ?
-- name: forget_changes
DELETE FROM change WHERE number <= (SELECT changes FROM vault) - ?

-- name: hold
INSERT INTO holder (holder, dropped) VALUES (?, ?) ON CONFLICT (holder) DO UPDATE SET dropped = excluded.dropped
-- name: let_go
DELETE FROM holder WHERE holder = ?
-- name: holders_before
SELECT holder FROM holder WHERE dropped < ? LIMIT 1
-- name: forget_holders_before
DELETE FROM holder WHERE dropped < ?

-- name: insert_epoch
INSERT INTO epoch (epoch, wrapped, created_us) VALUES (?, ?, ?) ON CONFLICT DO NOTHING
-- name: epochs
SELECT epoch, wrapped, created_us FROM epoch ORDER BY epoch
-- name: newest_epoch
SELECT max(epoch) FROM epoch
-- name: forget_epochs_below
UPDATE epoch SET wrapped = '' WHERE epoch < ?
-- name: delete_epochs_below
DELETE FROM epoch WHERE epoch < ?

-- name: insert_secret
INSERT INTO secret (name, epoch, wrapped) VALUES (?, ?, ?) ON CONFLICT DO NOTHING
-- name: secrets
SELECT name, epoch, wrapped FROM secret
-- name: secrets_like
SELECT name, epoch, wrapped FROM secret WHERE name LIKE ?
-- name: update_secret
UPDATE secret SET epoch = ?, wrapped = ? WHERE name = ?
-- name: delete_secret
DELETE FROM secret WHERE name = ?

-- name: owners
SELECT blind, owner FROM identifier WHERE blind IN (??)
-- name: insert_identifier
INSERT INTO identifier (blind, owner, epoch, wrapped) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING
-- name: identifiers_of
SELECT epoch, wrapped FROM identifier WHERE owner = ?
-- name: owners_with_identifiers
SELECT DISTINCT owner FROM identifier WHERE owner IN (??)
-- name: delete_identifiers_of
DELETE FROM identifier WHERE owner = ?
-- name: all_identifiers
SELECT owner, wrapped FROM identifier
-- name: delete_all_identifiers
DELETE FROM identifier

-- name: suppressed
SELECT blind FROM suppressed WHERE until_us > ? AND blind IN (??)
-- name: suppress
INSERT INTO suppressed (blind, bucket, until_us) VALUES (?, ?, ?)
ON CONFLICT (blind) DO UPDATE SET until_us = excluded.until_us
-- name: end_suppression
DELETE FROM suppressed WHERE until_us <= ?

-- name: erased
SELECT owner FROM erased WHERE owner IN (??)
-- name: insert_erased
INSERT INTO erased (owner, erased_us, identifiers, footprint) VALUES (?, ?, ?, ?)
ON CONFLICT (owner) DO UPDATE SET footprint = excluded.footprint WHERE length(erased.footprint) = 0
-- name: ending
SELECT erased_us, identifiers, footprint FROM erased WHERE owner = ?

-- A key of somebody erased, or one that a later version has replaced, was destroyed: whoever puts it back by hand puts back nothing.
-- name: keys_of
SELECT owner, purpose, year, version, CASE WHEN state = 1 AND (
    EXISTS (SELECT 1 FROM erased WHERE erased.owner = key.owner)
    OR EXISTS (SELECT 1 FROM key AS later WHERE later.owner = key.owner AND later.purpose = key.purpose
        AND later.year = key.year AND later.version > key.version)
) THEN 2 ELSE state END, epoch, wrapped
FROM key WHERE purpose = ? AND year = ? AND owner IN (??)
-- name: destroy_again
UPDATE key SET state = 2, wrapped = NULL WHERE state = 1 AND (
    EXISTS (SELECT 1 FROM erased WHERE erased.owner = key.owner)
    OR EXISTS (SELECT 1 FROM key AS later WHERE later.owner = key.owner AND later.purpose = key.purpose
        AND later.year = key.year AND later.version > key.version)
)
-- name: insert_key
INSERT INTO key (owner, purpose, year, version, state, epoch, wrapped) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
-- name: keys_of_owner
SELECT purpose, year, version, state FROM key WHERE owner = ? ORDER BY purpose, year, version
-- name: owners_with_keys
SELECT DISTINCT owner FROM key WHERE state = 1 AND owner IN (??)
-- name: destroy_keys
UPDATE key SET state = 2, wrapped = NULL WHERE owner = ? AND state = 1
-- name: destroy_keys_for
UPDATE key SET state = 2, wrapped = NULL WHERE owner = ? AND purpose = ? AND state = 1
-- name: years
SELECT purpose, year, count(*), count(DISTINCT owner) FROM key WHERE state = 1 AND purpose < 100 GROUP BY purpose, year
-- name: owners_of_year
SELECT DISTINCT owner FROM key WHERE purpose = ? AND year = ? AND state = 1 AND owner > ? ORDER BY owner LIMIT ?
-- name: destroy_keys_of_year
UPDATE key SET state = 2, wrapped = NULL WHERE owner = ? AND purpose = ? AND year = ? AND state = 1
-- name: owners_of_activities
SELECT owner FROM key WHERE purpose = 100 AND state = 1 AND owner > ? ORDER BY owner LIMIT ?
-- name: count_keys
SELECT purpose, year, state, epoch, count(*) FROM key GROUP BY purpose, year, state, epoch ORDER BY purpose, year, state, epoch
-- name: keys_below
SELECT owner, purpose, year, version, wrapped FROM key WHERE state = 1 AND epoch < ? AND (owner, purpose, year, version) > (?, ?, ?, ?)
ORDER BY owner, purpose, year, version LIMIT ?
-- name: update_key
UPDATE key SET epoch = ?, wrapped = ? WHERE owner = ? AND purpose = ? AND year = ? AND version = ?
-- name: count_below
SELECT (SELECT count(*) FROM key WHERE state = 1 AND epoch < ?) + (SELECT count(*) FROM identifier WHERE epoch < ?) + (SELECT count(*) FROM secret WHERE epoch < ?)

-- name: insert_credential
INSERT INTO credential (blind, secret_hash, scopes, purpose, created_us, revoked_us, sealed) VALUES (?, ?, ?, ?, ?, NULL, ?)
-- name: credential
SELECT blind, secret_hash, scopes, purpose, created_us, revoked_us, sealed FROM credential WHERE blind = ?
-- name: credentials
SELECT blind, secret_hash, scopes, purpose, created_us, revoked_us, sealed FROM credential ORDER BY created_us
-- name: revoke_credential
UPDATE credential SET revoked_us = ? WHERE blind = ? AND revoked_us IS NULL

-- name: update_credential
UPDATE credential SET sealed = ? WHERE blind = ?

-- name: journal
SELECT entries, head, copied FROM journal
-- name: set_journal
INSERT INTO journal (one, entries, head, copied) VALUES (1, ?, ?, ?)
ON CONFLICT (one) DO UPDATE SET entries = excluded.entries, head = excluded.head, copied = excluded.copied

-- name: witness
SELECT incarnation, position FROM witness
-- name: follow_witness
INSERT INTO witness (one, incarnation, position) VALUES (1, ?, ?)
ON CONFLICT (one) DO UPDATE SET position = excluded.position
    WHERE witness.incarnation = excluded.incarnation AND witness.position < excluded.position
-- name: set_witness
INSERT INTO witness (one, incarnation, position) VALUES (1, ?, ?)
ON CONFLICT (one) DO UPDATE SET incarnation = excluded.incarnation, position = excluded.position
