-- What is known of each boot of a box against this gateway's clock: the facts of an exchange,
-- as `clock::tie` packs them. `changed` rises with every change of any row.
DROP TABLE boots;
CREATE TABLE boots (
  box     BLOB NOT NULL,
  boot    BLOB NOT NULL,
  facts   BLOB NOT NULL,
  changed INTEGER NOT NULL,
  PRIMARY KEY (box, boot)
) STRICT, WITHOUT ROWID;
CREATE INDEX boots_by_change ON boots (changed);
