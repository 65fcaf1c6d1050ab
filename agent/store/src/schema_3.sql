-- Version 3. A frame may carry one out of a file that was set aside: then `carries` is the chain
-- of that one. How far each lane of each such file is carried stands beside it; `last` is the
-- last frame that carries one of them, and `waiting` what is left as far as it can be counted.
ALTER TABLE frame ADD COLUMN carries BLOB CHECK (length(carries) = 8);

CREATE TABLE carrying (
    aside    TEXT NOT NULL,
    lane     INTEGER NOT NULL,
    upto     INTEGER NOT NULL,
    waiting  INTEGER NOT NULL,
    carried  INTEGER NOT NULL,
    passed   INTEGER NOT NULL,
    last     INTEGER NOT NULL,
    done     INTEGER NOT NULL,
    PRIMARY KEY (aside, lane)
) STRICT, WITHOUT ROWID;
