-- The log, its inline statement index and the documents, on SQLite: one file, because commits over several attached
-- WAL files are not atomic (decision 13).
CREATE TABLE IF NOT EXISTS events (
    position INTEGER PRIMARY KEY,
    originator_id BLOB NOT NULL,
    originator_version INTEGER NOT NULL,
    topic TEXT NOT NULL,
    record_key BLOB NOT NULL,
    stored_us INTEGER NOT NULL,
    state BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS events_stream ON events (originator_id, originator_version);
CREATE UNIQUE INDEX IF NOT EXISTS events_stored ON events (stored_us);
CREATE TABLE IF NOT EXISTS log_head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    position INTEGER NOT NULL,
    stored_us INTEGER NOT NULL,
    incarnation BLOB NOT NULL,
    settled INTEGER NOT NULL DEFAULT 0
);
INSERT INTO log_head (one, position, stored_us, incarnation) VALUES (1, 0, 0, randomblob(16)) ON CONFLICT DO NOTHING;
-- One row for each statement: its terms and people packed, and the originator id of the statement that its object
-- refers to. Up to log_head.settled the lists below hold them too; what is newer is found by looking at these rows.
CREATE TABLE IF NOT EXISTS statement (
    position INTEGER PRIMARY KEY,
    terms BLOB NOT NULL,
    people BLOB NOT NULL,
    target BLOB,
    voids BLOB,
    voided INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS statement_target ON statement (target) WHERE target IS NOT NULL;
-- Posting lists. source is the position of the statement whose own term it is: itself, or one that it refers to.
CREATE TABLE IF NOT EXISTS term (
    term INTEGER NOT NULL,
    position INTEGER NOT NULL,
    source INTEGER NOT NULL,
    PRIMARY KEY (term, position, source)
) WITHOUT ROWID;
-- What has been asked to be voided, there or not; done once the target's statement_voided event is in the log.
CREATE TABLE IF NOT EXISTS voiding (
    target BLOB PRIMARY KEY,
    position INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS event_people (
    pseudonym BLOB NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (pseudonym, position)
) WITHOUT ROWID;
-- Only people of whom something other than "active" is true have a row.
CREATE TABLE IF NOT EXISTS person_state (
    pseudonym BLOB NOT NULL,
    purpose INTEGER NOT NULL,
    state INTEGER NOT NULL,
    PRIMARY KEY (pseudonym, purpose)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blob (
    blob_id BLOB PRIMARY KEY,
    position INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS blob_position ON blob (position);
-- State and profile documents. scope is the keyed hash of what a list of ids is asked by; owner whose key seals it.
CREATE TABLE IF NOT EXISTS document (
    document_key BLOB PRIMARY KEY,
    scope BLOB NOT NULL,
    wide_scope BLOB,
    owner BLOB NOT NULL,
    revision INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    sealed BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS document_scope ON document (scope, updated_us);
CREATE INDEX IF NOT EXISTS document_wide_scope ON document (wide_scope, updated_us) WHERE wide_scope IS NOT NULL;
CREATE INDEX IF NOT EXISTS document_owner ON document (owner);
