-- When the box was last connected to one of several programs that share this database.
ALTER TABLE boxes ADD COLUMN connected_us INTEGER;
