-- Version 2. Which subject an open acquisition is of is recognised by a hash; the column with
-- the reference itself goes when the hashes are made.
ALTER TABLE open_acquisition ADD COLUMN subject_mark BLOB CHECK (length(subject_mark) = 32);
