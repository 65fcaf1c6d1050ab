-- Which patients a resource is about, for who may see some patients only: a Provenance is about
-- those of its targets, a Binary about those of its documents.
CREATE TABLE belongs (
  kind    TEXT NOT NULL,
  id      TEXT NOT NULL,
  patient TEXT NOT NULL,
  PRIMARY KEY (kind, id, patient)
) STRICT, WITHOUT ROWID;
INSERT INTO belongs (kind, id, patient) SELECT 'Patient', id, id FROM resources WHERE kind = 'Patient';
INSERT INTO belongs (kind, id, patient)
  SELECT DISTINCT kind, id, substr(target, 9) FROM index_references
  WHERE target LIKE 'Patient/%' AND kind <> 'Patient';
INSERT INTO belongs (kind, id, patient)
  SELECT DISTINCT p.kind, p.id, b.patient FROM index_references p, belongs b
  WHERE p.kind = 'Provenance' AND p.param = 'target' AND p.target = b.kind || '/' || b.id
  ON CONFLICT DO NOTHING;
INSERT INTO belongs (kind, id, patient)
  SELECT DISTINCT 'Binary', b.id, a.subject FROM binaries b, acquisitions a
  WHERE a.id = b.acquisition AND a.subject IS NOT NULL
  ON CONFLICT DO NOTHING;
INSERT INTO belongs (kind, id, patient)
  SELECT 'Binary', "binary", subject FROM files WHERE 1 = 1
  ON CONFLICT DO NOTHING;
