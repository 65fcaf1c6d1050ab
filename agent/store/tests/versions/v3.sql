-- The statements of version 3, as they were released. Never changed: files made by them exist.
CREATE TABLE frame (
    place        INTEGER PRIMARY KEY,
    fingerprint  BLOB NOT NULL CHECK (length(fingerprint) = 32),
    stored_utc   INTEGER NOT NULL,
    bytes        BLOB NOT NULL
, carries BLOB CHECK (length(carries) = 8)) STRICT;

CREATE TABLE lane (
    lane           INTEGER PRIMARY KEY,
    chain          BLOB NOT NULL CHECK (length(chain) = 8),
    oldest         INTEGER NOT NULL,
    next           INTEGER NOT NULL,
    head           BLOB NOT NULL CHECK (length(head) = 32),
    acked          INTEGER NOT NULL,
    acked_head     BLOB NOT NULL CHECK (length(acked_head) = 32),
    ack_counter    INTEGER NOT NULL,
    kept_bytes     INTEGER NOT NULL,
    waiting_bytes  INTEGER NOT NULL,
    refused        INTEGER NOT NULL,
    CHECK (1 <= oldest AND oldest <= next AND acked < next AND oldest <= acked + 1)
) STRICT;

CREATE TABLE unsent_gap (
    named_lane  INTEGER NOT NULL,
    named_seq   INTEGER NOT NULL,
    lane        INTEGER NOT NULL,
    chain       BLOB NOT NULL CHECK (length(chain) = 8),
    from_seq    INTEGER NOT NULL,
    to_seq      INTEGER,
    records     INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    PRIMARY KEY (named_lane, named_seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE open_acquisition (
    acquisition   BLOB PRIMARY KEY CHECK (length(acquisition) = 16),
    source        TEXT NOT NULL,
    rate_samples  INTEGER NOT NULL,
    rate_seconds  INTEGER NOT NULL,
    next_sample   INTEGER NOT NULL,
    next_ordinal  INTEGER NOT NULL,
    samples       INTEGER NOT NULL,
    gaps          INTEGER NOT NULL,
    missing       INTEGER NOT NULL,
    anchor_index  INTEGER,
    anchor_boot   BLOB,
    anchor_us     INTEGER,
    anchor_utc    INTEGER,
    anchor_error  INTEGER,
    anchor_uncertainty INTEGER
, subject_mark BLOB CHECK (length(subject_mark) = 32)) STRICT, WITHOUT ROWID;

CREATE TABLE carrying (
    aside    TEXT NOT NULL,
    lane     INTEGER NOT NULL,
    upto     INTEGER NOT NULL,
    waiting  INTEGER NOT NULL,
    carried  INTEGER NOT NULL,
    passed   INTEGER NOT NULL,
    last     INTEGER NOT NULL,
    done     INTEGER NOT NULL,
    PRIMARY KEY (aside, lane)
) STRICT, WITHOUT ROWID;
