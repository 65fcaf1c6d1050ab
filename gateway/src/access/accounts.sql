-- People and programs that may use the record.
CREATE TABLE accounts (
  name         TEXT PRIMARY KEY,
  role         TEXT NOT NULL,
  practitioner TEXT,
  everything   INTEGER NOT NULL,
  password     TEXT,
  made_us      INTEGER NOT NULL,
  disabled_us  INTEGER
) STRICT;

-- The organizations whose patients an account sees.
CREATE TABLE account_teams (
  account TEXT NOT NULL,
  team    TEXT NOT NULL,
  PRIMARY KEY (account, team)
) STRICT, WITHOUT ROWID;

-- Tokens of programs, by their hash; what was handed out is kept nowhere.
CREATE TABLE tokens (
  hash    BLOB PRIMARY KEY CHECK (length(hash) = 32),
  account TEXT NOT NULL,
  label   TEXT NOT NULL,
  role    TEXT NOT NULL,
  made_us INTEGER NOT NULL,
  ends_us INTEGER NOT NULL,
  UNIQUE (account, label)
) STRICT;

-- Sessions of people, by the hash of what their browser holds.
CREATE TABLE sessions (
  hash    BLOB PRIMARY KEY CHECK (length(hash) = 32),
  account TEXT NOT NULL,
  made_us INTEGER NOT NULL,
  seen_us INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_of ON sessions (account, made_us);
