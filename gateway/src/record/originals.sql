-- Files that boxes sent as a recorder or a sensor had made them; their bytes are those of the
-- records that brought their parts. `state`: 0 parts are missing, 1 whole and not proved yet,
-- 2 proved to be what its hash says and filed, 3 whole and something else.
CREATE TABLE originals (
  box         BLOB NOT NULL,
  file        BLOB NOT NULL CHECK (length(file) = 32),
  "binary"    TEXT NOT NULL UNIQUE,
  document    TEXT NOT NULL,
  media_type  TEXT NOT NULL,
  size        INTEGER NOT NULL,
  parts       INTEGER NOT NULL,
  received_us INTEGER NOT NULL,
  state       INTEGER NOT NULL,
  sha1        BLOB,
  PRIMARY KEY (box, file)
) STRICT, WITHOUT ROWID;
CREATE INDEX originals_to_prove ON originals (box, file) WHERE state = 1;

-- Which record brought the part that begins there.
CREATE TABLE original_parts (
  box     BLOB NOT NULL,
  file    BLOB NOT NULL,
  begins  INTEGER NOT NULL,
  record  BLOB NOT NULL,
  PRIMARY KEY (box, file, begins)
) STRICT, WITHOUT ROWID;

-- The acquisitions that a file became, in its own order.
CREATE TABLE original_acquisitions (
  box         BLOB NOT NULL,
  file        BLOB NOT NULL,
  acquisition BLOB NOT NULL,
  place       INTEGER NOT NULL,
  PRIMARY KEY (box, file, acquisition)
) STRICT, WITHOUT ROWID;
CREATE INDEX original_acquisitions_of ON original_acquisitions (acquisition);
