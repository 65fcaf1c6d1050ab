-- Up to where the inbox's news of the clock of each box has been taken in.
DROP TABLE clock_mark;
CREATE TABLE clock_marks (
  box  BLOB PRIMARY KEY,
  mark INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
