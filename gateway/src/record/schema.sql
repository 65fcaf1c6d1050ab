-- How far each chain of the inbox is filed.
CREATE TABLE cursors (
  box   BLOB NOT NULL,
  lane  INTEGER NOT NULL,
  chain BLOB NOT NULL,
  filed INTEGER NOT NULL,
  PRIMARY KEY (box, lane, chain)
) STRICT, WITHOUT ROWID;

-- Opened records, exactly as the box sealed them.
CREATE TABLE records (
  id          BLOB NOT NULL CHECK (length(id) = 16),
  kind        TEXT NOT NULL,
  acquisition BLOB,
  first       INTEGER,
  len         INTEGER,
  box         BLOB NOT NULL,
  lane        INTEGER NOT NULL,
  chain       BLOB NOT NULL,
  seq         INTEGER NOT NULL,
  fingerprint BLOB NOT NULL,
  received_us INTEGER NOT NULL,
  judged      INTEGER NOT NULL DEFAULT 0,
  bytes       BLOB NOT NULL,
  PRIMARY KEY (box, id)
) STRICT;
CREATE INDEX records_of_acquisition ON records (acquisition, kind, first);

-- Frames that could not be opened, read or filed, with the program that tried.
CREATE TABLE quarantine (
  box         BLOB NOT NULL,
  lane        INTEGER NOT NULL,
  chain       BLOB NOT NULL,
  seq         INTEGER NOT NULL,
  code        TEXT NOT NULL,
  why         TEXT NOT NULL,
  program     TEXT NOT NULL,
  noticed_us  INTEGER NOT NULL,
  PRIMARY KEY (box, lane, chain, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE acquisitions (
  id         BLOB PRIMARY KEY CHECK (length(id) = 16),
  box        BLOB NOT NULL,
  subject    TEXT,
  source     TEXT NOT NULL,
  started_us INTEGER NOT NULL,
  ended_us   INTEGER,
  ended_why  TEXT
) STRICT;
CREATE INDEX acquisitions_of_subject ON acquisitions (subject);

-- Observations of an acquisition, by the sample that they begin with.
CREATE TABLE results (
  acquisition BLOB NOT NULL,
  id          TEXT NOT NULL,
  first       INTEGER NOT NULL,
  PRIMARY KEY (acquisition, id)
) STRICT, WITHOUT ROWID;

-- The newest version of each resource, without version and time, which columns hold.
CREATE TABLE resources (
  kind       TEXT NOT NULL,
  id         TEXT NOT NULL,
  version    INTEGER NOT NULL,
  updated_us INTEGER NOT NULL,
  body       TEXT NOT NULL,
  PRIMARY KEY (kind, id)
) STRICT;
CREATE INDEX resources_by_time ON resources (kind, updated_us, id);

-- Versions that were replaced.
CREATE TABLE history (
  kind       TEXT NOT NULL,
  id         TEXT NOT NULL,
  version    INTEGER NOT NULL,
  updated_us INTEGER NOT NULL,
  body       TEXT NOT NULL,
  PRIMARY KEY (kind, id, version)
) STRICT;

CREATE TABLE index_tokens (
  kind   TEXT NOT NULL,
  param  TEXT NOT NULL,
  code   TEXT NOT NULL,
  system TEXT NOT NULL,
  id     TEXT NOT NULL,
  PRIMARY KEY (kind, param, code, system, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_tokens_of ON index_tokens (kind, id);

CREATE TABLE index_references (
  kind   TEXT NOT NULL,
  param  TEXT NOT NULL,
  target TEXT NOT NULL,
  id     TEXT NOT NULL,
  PRIMARY KEY (kind, param, target, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_references_of ON index_references (kind, id);

CREATE TABLE index_dates (
  kind    TEXT NOT NULL,
  param   TEXT NOT NULL,
  from_us INTEGER NOT NULL,
  to_us   INTEGER NOT NULL,
  id      TEXT NOT NULL,
  PRIMARY KEY (kind, param, from_us, to_us, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_dates_of ON index_dates (kind, id);

-- Which acquisition's records a Binary is made of.
CREATE TABLE binaries (
  id          TEXT PRIMARY KEY,
  acquisition BLOB NOT NULL
) STRICT;

CREATE TABLE alerts (
  id        TEXT PRIMARY KEY,
  subject   TEXT,
  box       BLOB NOT NULL,
  rule      TEXT NOT NULL,
  priority  TEXT NOT NULL,
  technical INTEGER NOT NULL,
  raised_us INTEGER NOT NULL,
  ended_us  INTEGER,
  text_fr   TEXT NOT NULL,
  text_en   TEXT NOT NULL,
  detail    TEXT NOT NULL
) STRICT;

CREATE TABLE alert_state (
  "only" INTEGER PRIMARY KEY CHECK ("only" = 1),
  state TEXT NOT NULL
) STRICT;
