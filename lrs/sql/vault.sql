-- Named queries of the key vault, the same on SQLite and PostgreSQL. `?` is a parameter, `??` a list of them.

-- name: insert_vault
INSERT INTO vault (one, vault_id, changes) VALUES (1, ?, 0) ON CONFLICT DO NOTHING
-- name: vault_id
SELECT vault_id FROM vault
-- name: changes
SELECT changes FROM vault
-- name: count_change
UPDATE vault SET changes = changes + 1

-- name: insert_epoch
INSERT INTO epoch (epoch, wrapped, created_us) VALUES (?, ?, ?) ON CONFLICT DO NOTHING
-- name: epochs
SELECT epoch, wrapped, created_us FROM epoch ORDER BY epoch

-- name: insert_secret
INSERT INTO secret (name, epoch, wrapped) VALUES (?, ?, ?) ON CONFLICT DO NOTHING
-- name: secrets
SELECT name, epoch, wrapped FROM secret

-- name: owners
SELECT blind, owner FROM identifier WHERE blind IN (??)
-- name: insert_identifier
INSERT INTO identifier (blind, owner, epoch, wrapped) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING
-- name: identifiers_of
SELECT epoch, wrapped FROM identifier WHERE owner = ?

-- name: keys_of
SELECT owner, purpose, year, version, state, epoch, wrapped FROM key WHERE purpose = ? AND year = ? AND owner IN (??)
-- name: insert_key
INSERT INTO key (owner, purpose, year, version, state, epoch, wrapped) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: insert_credential
INSERT INTO credential (blind, secret_hash, scopes, purpose, created_us, revoked_us, sealed) VALUES (?, ?, ?, ?, ?, NULL, ?)
-- name: credential
SELECT blind, secret_hash, scopes, purpose, created_us, revoked_us, sealed FROM credential WHERE blind = ?
-- name: credentials
SELECT blind, secret_hash, scopes, purpose, created_us, revoked_us, sealed FROM credential ORDER BY created_us
-- name: revoke_credential
UPDATE credential SET revoked_us = ? WHERE blind = ? AND revoked_us IS NULL

-- name: witness
SELECT incarnation, position FROM witness
-- name: follow_witness
INSERT INTO witness (one, incarnation, position) VALUES (1, ?, ?)
ON CONFLICT (one) DO UPDATE SET position = excluded.position
    WHERE witness.incarnation = excluded.incarnation AND witness.position < excluded.position
-- name: set_witness
INSERT INTO witness (one, incarnation, position) VALUES (1, ?, ?)
ON CONFLICT (one) DO UPDATE SET incarnation = excluded.incarnation, position = excluded.position
