-- The boots of boxes as their records show them: where each begins in a chain, the latest
-- moment that a record names, and what the records say of its time (`clock::tie`).
CREATE TABLE sightings (
  box       BLOB NOT NULL,
  boot      BLOB NOT NULL,
  lane      INTEGER NOT NULL,
  chain     BLOB NOT NULL,
  first_seq INTEGER NOT NULL,
  last_us   INTEGER NOT NULL,
  facts     BLOB NOT NULL,
  PRIMARY KEY (box, boot, lane, chain)
) STRICT, WITHOUT ROWID;

-- How the times of an acquisition were reckoned, for each boot that it spans: one moment of
-- the boot and its instant, so that all its resources agree to the microsecond. Without an
-- error the time is not known well enough, and is filed as unknown.
CREATE TABLE dated (
  acquisition BLOB NOT NULL,
  boot        BLOB NOT NULL,
  box         BLOB NOT NULL,
  micros      INTEGER NOT NULL,
  utc_us      INTEGER NOT NULL,
  error_us    INTEGER,
  PRIMARY KEY (acquisition, boot)
) STRICT, WITHOUT ROWID;
CREATE INDEX dated_of_box ON dated (box);

-- Up to where the inbox's news of clocks has been taken in.
CREATE TABLE clock_mark (
  "only" INTEGER PRIMARY KEY CHECK ("only" = 1),
  mark INTEGER NOT NULL
) STRICT;
INSERT INTO clock_mark VALUES (1, 0);
