-- How far the records of one kind reach in an acquisition, and how long the longest of them is:
-- what covers a sample begins no further before it.
CREATE TABLE extents (
  acquisition BLOB NOT NULL,
  box         BLOB NOT NULL,
  kind        TEXT NOT NULL,
  longest     INTEGER NOT NULL,
  reached     INTEGER NOT NULL,
  PRIMARY KEY (acquisition, box, kind)
) STRICT, WITHOUT ROWID;
INSERT INTO extents (acquisition, box, kind, longest, reached)
  SELECT acquisition, box, kind, max(len), max(first + len) FROM records
  WHERE acquisition IS NOT NULL AND first IS NOT NULL AND len IS NOT NULL
  GROUP BY acquisition, box, kind;

-- Acquisitions that have ended and of which records came after their report was written.
CREATE TABLE reports_due (
  acquisition BLOB PRIMARY KEY,
  box         BLOB NOT NULL
) STRICT;

CREATE INDEX records_in_order ON records (acquisition, lane, chain, seq);
CREATE INDEX records_unjudged ON records (acquisition) WHERE judged = 0 AND kind = 'assessment';
