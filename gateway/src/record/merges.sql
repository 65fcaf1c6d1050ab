-- Patients whose record is continued under another id. There is no chain of them: who continues
-- a record is never merged into somebody else without these rows following.
CREATE TABLE merges (
  merged    TEXT PRIMARY KEY,
  survivor  TEXT NOT NULL,
  merged_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX merges_into ON merges (survivor);
