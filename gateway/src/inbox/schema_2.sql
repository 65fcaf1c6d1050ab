-- The last number that was drawn for what a box is told, where several programs draw.
ALTER TABLE boxes ADD COLUMN number INTEGER NOT NULL DEFAULT 0;

-- The highest `boots.changed` of the box: another number when more is known of its clock.
-- Each box counts for itself, because programs that share the database store at once.
ALTER TABLE boxes ADD COLUMN clock_news INTEGER NOT NULL DEFAULT 0;
UPDATE boxes SET clock_news = coalesce((SELECT max(changed) FROM boots WHERE box = id), 0);
DROP INDEX boots_by_change;
CREATE INDEX boots_of_box ON boots (box, changed);

-- Frames that came after their lane had gone on without them, until they are filed.
CREATE TABLE late (
  box   BLOB NOT NULL,
  lane  INTEGER NOT NULL,
  chain BLOB NOT NULL,
  seq   INTEGER NOT NULL,
  PRIMARY KEY (box, lane, chain, seq)
) STRICT, WITHOUT ROWID;

-- Signed gap records, by the frame that held each of them. The stretch is empty where no
-- frame is missing: records refused before they were made, or a chain that ended whole.
CREATE TABLE gaps (
  box         BLOB NOT NULL,
  told_lane   INTEGER NOT NULL,
  told_chain  BLOB NOT NULL,
  told_seq    INTEGER NOT NULL,
  lane        INTEGER NOT NULL,
  chain       BLOB NOT NULL,
  from_seq    INTEGER NOT NULL,
  to_seq      INTEGER NOT NULL,
  records     INTEGER NOT NULL,
  reason      TEXT NOT NULL,
  PRIMARY KEY (box, told_lane, told_chain, told_seq)
) STRICT, WITHOUT ROWID;

-- Chains of which box and gateway hold different frames.
CREATE TABLE forks (
  box        BLOB NOT NULL,
  lane       INTEGER NOT NULL,
  chain      BLOB NOT NULL,
  noticed_us INTEGER NOT NULL,
  PRIMARY KEY (box, lane, chain)
) STRICT, WITHOUT ROWID;

-- Where retention has deleted the beginning of a chain: the last frame that was deleted, and
-- how many there were.
CREATE TABLE checkpoints (
  box         BLOB NOT NULL,
  lane        INTEGER NOT NULL,
  chain       BLOB NOT NULL,
  upto        INTEGER NOT NULL,
  fingerprint BLOB NOT NULL,
  frames      INTEGER NOT NULL,
  PRIMARY KEY (box, lane, chain)
) STRICT, WITHOUT ROWID;
