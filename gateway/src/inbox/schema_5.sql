-- The team that carries a box, as `Organization/id`: it is told the visits of that team's patients.
ALTER TABLE boxes ADD COLUMN team TEXT;
