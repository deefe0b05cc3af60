-- The log, its inline statement index and the documents, on PostgreSQL: one database.
CREATE TABLE IF NOT EXISTS events (
    position BIGINT PRIMARY KEY,
    originator_id UUID NOT NULL,
    originator_version BIGINT NOT NULL,
    topic TEXT NOT NULL,
    record_key BYTEA NOT NULL,
    stored_us BIGINT NOT NULL,
    state BYTEA NOT NULL
);
ALTER TABLE events ALTER COLUMN state SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX IF NOT EXISTS events_stream ON events (originator_id, originator_version);
CREATE UNIQUE INDEX IF NOT EXISTS events_stored ON events (stored_us);
CREATE TABLE IF NOT EXISTS log_head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    position BIGINT NOT NULL,
    stored_us BIGINT NOT NULL,
    incarnation BYTEA NOT NULL,
    settled BIGINT NOT NULL DEFAULT 0
);
INSERT INTO log_head (one, position, stored_us, incarnation) VALUES (1, 0, 0, decode(replace(gen_random_uuid()::text, '-', ''), 'hex')) ON CONFLICT DO NOTHING;
-- One row for each statement: its terms and people packed, and the originator id of the statement that its object
-- refers to. Up to log_head.settled the lists below hold them too; what is newer is found by looking at these rows.
CREATE TABLE IF NOT EXISTS statement (
    position BIGINT PRIMARY KEY,
    terms BYTEA NOT NULL,
    people BYTEA NOT NULL,
    target BYTEA,
    voids BYTEA,
    voided SMALLINT NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS statement_target ON statement (target) WHERE target IS NOT NULL;
-- Posting lists. source is the position of the statement whose own term it is: itself, or one that it refers to.
CREATE TABLE IF NOT EXISTS term (
    term BIGINT NOT NULL,
    position BIGINT NOT NULL,
    source BIGINT NOT NULL,
    PRIMARY KEY (term, position, source)
);
-- What has been asked to be voided, there or not; done once the target's statement_voided event is in the log.
CREATE TABLE IF NOT EXISTS voiding (
    target BYTEA PRIMARY KEY,
    position BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS event_people (
    pseudonym BYTEA NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (pseudonym, position)
);
-- Only people of whom something other than "active" is true have a row.
CREATE TABLE IF NOT EXISTS person_state (
    pseudonym BYTEA NOT NULL,
    purpose SMALLINT NOT NULL,
    state SMALLINT NOT NULL,
    PRIMARY KEY (pseudonym, purpose)
);
CREATE TABLE IF NOT EXISTS blob (
    blob_id BYTEA PRIMARY KEY,
    position BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS blob_position ON blob (position);
-- State and profile documents. scope is the keyed hash of what a list of ids is asked by; owner whose key seals it.
CREATE TABLE IF NOT EXISTS document (
    document_key BYTEA PRIMARY KEY,
    scope BYTEA NOT NULL,
    wide_scope BYTEA,
    owner BYTEA NOT NULL,
    revision BIGINT NOT NULL,
    updated_us BIGINT NOT NULL,
    sealed BYTEA NOT NULL
);
CREATE INDEX IF NOT EXISTS document_scope ON document (scope, updated_us);
CREATE INDEX IF NOT EXISTS document_wide_scope ON document (wide_scope, updated_us) WHERE wide_scope IS NOT NULL;
CREATE INDEX IF NOT EXISTS document_owner ON document (owner);
-- Attachments, sealed chunk by chunk.
CREATE TABLE IF NOT EXISTS blob_chunk (
    blob_id BYTEA NOT NULL,
    number BIGINT NOT NULL,
    begun TIMESTAMPTZ NOT NULL DEFAULT now(),
    chunk BYTEA NOT NULL,
    PRIMARY KEY (blob_id, number)
);
ALTER TABLE blob_chunk ALTER COLUMN chunk SET STORAGE EXTERNAL
