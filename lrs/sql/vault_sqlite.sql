-- The key vault on SQLite: a file of its own, so that it has its own backups and its own secure deletion.
CREATE TABLE IF NOT EXISTS vault (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    vault_id BLOB NOT NULL,
    changes INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS epoch (
    epoch INTEGER PRIMARY KEY,
    wrapped BLOB NOT NULL,
    created_us INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS secret (
    name TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    wrapped BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS identifier (
    blind BLOB PRIMARY KEY,
    owner BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    wrapped BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS identifier_owner ON identifier (owner);
CREATE TABLE IF NOT EXISTS key (
    owner BLOB NOT NULL,
    purpose INTEGER NOT NULL,
    year INTEGER NOT NULL,
    version INTEGER NOT NULL,
    state INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    wrapped BLOB,
    PRIMARY KEY (owner, purpose, year, version)
) WITHOUT ROWID;
-- Activities are few beside learners, and looked through when one is forgotten.
CREATE INDEX IF NOT EXISTS key_activity ON key (owner) WHERE purpose = 100;
CREATE TABLE IF NOT EXISTS credential (
    blind BLOB PRIMARY KEY,
    secret_hash BLOB NOT NULL,
    scopes TEXT NOT NULL,
    purpose INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    revoked_us INTEGER,
    sealed BLOB NOT NULL
) WITHOUT ROWID;
-- Whose keys are all destroyed, for ever: none is minted for them again. The pseudonym leads to nobody.
CREATE TABLE IF NOT EXISTS erased (
    owner BLOB PRIMARY KEY,
    erased_us INTEGER NOT NULL,
    identifiers INTEGER NOT NULL,
    footprint BLOB NOT NULL
) WITHOUT ROWID;
-- Identifiers that lead to nobody for a while, as keyed hashes under a pepper of the month in which that ends.
CREATE TABLE IF NOT EXISTS suppressed (
    blind BLOB PRIMARY KEY,
    bucket INTEGER NOT NULL,
    until_us INTEGER NOT NULL
) WITHOUT ROWID;
-- How much of the journal of what was ended this vault has carried out (lrs/journal.py).
CREATE TABLE IF NOT EXISTS journal (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    entries INTEGER NOT NULL,
    head BLOB NOT NULL,
    copied INTEGER NOT NULL
);
-- Of the newest changes whose keys they ended: everybody else's stay in memory.
CREATE TABLE IF NOT EXISTS change (
    number INTEGER PRIMARY KEY,
    owner BLOB NOT NULL
);
-- Which processes keep keys in memory, and up to which change they have dropped those that were destroyed.
CREATE TABLE IF NOT EXISTS holder (
    holder BLOB PRIMARY KEY,
    dropped INTEGER NOT NULL
) WITHOUT ROWID;
