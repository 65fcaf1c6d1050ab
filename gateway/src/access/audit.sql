-- Who did what; only ever added to. Each row's hash covers the one before, so that none can be
-- taken out, changed or moved. What stands beside the body is drawn from it, to be searched by.
CREATE TABLE audit (
  seq     INTEGER PRIMARY KEY,
  at_us   INTEGER NOT NULL,
  body    TEXT NOT NULL,
  hash    BLOB NOT NULL CHECK (length(hash) = 32),
  deed    TEXT NOT NULL,
  outcome TEXT NOT NULL,
  account TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_time ON audit (at_us, seq);
CREATE INDEX audit_of_account ON audit (account, seq);
CREATE TABLE audit_patients (
  patient TEXT NOT NULL,
  seq     INTEGER NOT NULL,
  PRIMARY KEY (patient, seq)
) STRICT, WITHOUT ROWID;

-- The newest row, signed with the gateway's control key of that time.
CREATE TABLE audit_head (
  "only"    INTEGER PRIMARY KEY CHECK ("only" = 1),
  seq       INTEGER NOT NULL,
  hash      BLOB NOT NULL,
  key       TEXT NOT NULL,
  signature BLOB NOT NULL
) STRICT;
