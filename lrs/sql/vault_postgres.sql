-- The key vault on PostgreSQL: a database of its own, with its own role and its own backups.
CREATE TABLE IF NOT EXISTS vault (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    vault_id BYTEA NOT NULL,
    changes BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS epoch (
    epoch INTEGER PRIMARY KEY,
    wrapped BYTEA NOT NULL,
    created_us BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS secret (
    name TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    wrapped BYTEA NOT NULL
);
CREATE TABLE IF NOT EXISTS identifier (
    blind BYTEA PRIMARY KEY,
    owner BYTEA NOT NULL,
    epoch INTEGER NOT NULL,
    wrapped BYTEA NOT NULL
);
CREATE INDEX IF NOT EXISTS identifier_owner ON identifier (owner);
CREATE TABLE IF NOT EXISTS key (
    owner BYTEA NOT NULL,
    purpose INTEGER NOT NULL,
    year INTEGER NOT NULL,
    version INTEGER NOT NULL,
    state INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    wrapped BYTEA,
    PRIMARY KEY (owner, purpose, year, version)
);
-- Activities are few beside learners, and looked through when one is forgotten.
CREATE INDEX IF NOT EXISTS key_activity ON key (owner) WHERE purpose = 100;
CREATE TABLE IF NOT EXISTS credential (
    blind BYTEA PRIMARY KEY,
    secret_hash BYTEA NOT NULL,
    scopes TEXT NOT NULL,
    purpose INTEGER NOT NULL,
    created_us BIGINT NOT NULL,
    revoked_us BIGINT,
    sealed BYTEA NOT NULL
);
-- Up to where the log of this vault was on Kafka, kept away from the log: a log that ends before it is an older one.
CREATE TABLE IF NOT EXISTS witness (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    incarnation BYTEA NOT NULL,
    position BIGINT NOT NULL
);
-- Whose keys are all destroyed, for ever: none is minted for them again. The pseudonym leads to nobody.
CREATE TABLE IF NOT EXISTS erased (
    owner BYTEA PRIMARY KEY,
    erased_us BIGINT NOT NULL,
    identifiers INTEGER NOT NULL,
    footprint BYTEA NOT NULL
);
-- Identifiers that lead to nobody for a while, as keyed hashes under a pepper of the month in which that ends.
CREATE TABLE IF NOT EXISTS suppressed (
    blind BYTEA PRIMARY KEY,
    bucket INTEGER NOT NULL,
    until_us BIGINT NOT NULL
);
-- How much of the journal of what was ended this vault has carried out (lrs/journal.py).
CREATE TABLE IF NOT EXISTS journal (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    entries BIGINT NOT NULL,
    head BYTEA NOT NULL,
    copied INTEGER NOT NULL
);
-- Of the newest changes whose keys they ended: everybody else's stay in memory.
CREATE TABLE IF NOT EXISTS change (
    number BIGINT PRIMARY KEY,
    owner BYTEA NOT NULL
);
-- Which processes keep keys in memory, and up to which change they have dropped those that were destroyed.
CREATE TABLE IF NOT EXISTS holder (
    holder BYTEA PRIMARY KEY,
    dropped BIGINT NOT NULL
);
