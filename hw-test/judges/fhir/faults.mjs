// Faults to seed, one at a time, into resources that pass: what a judge is worth is what it
// notices.

const kind = (name) => (resource) => resource.resourceType === name;
const profiled = (name) => (resource) =>
  (resource.meta?.profile ?? []).some((profile) => profile.endsWith(`/${name}`));
const waveform = (resource) => (resource.component ?? []).some((part) => part.valueSampledData);
const rate = (resource) => profiled('heartrate')(resource) && resource.valueQuantity;
const quality = (resource) =>
  resource.valueQuantity && (resource.code?.coding ?? []).some((one) => one.code === 'signal-quality-index');
const withIns = (resource) =>
  kind('Patient')(resource) && (resource.identifier ?? []).some((one) => one.system?.startsWith('urn:oid:1.2.250'));
const filing = (resource) => kind('Bundle')(resource) && resource.type === 'transaction';

/** @type {{name: string, fits: (resource: any) => any, seed: (resource: any) => void}[]} */
export const faults = [
  { name: 'status that is no status', fits: rate, seed: (r) => (r.status = 'done') },
  { name: 'no status', fits: rate, seed: (r) => delete r.status },
  { name: 'no code', fits: rate, seed: (r) => delete r.code },
  { name: 'subject of a wrong kind', fits: rate, seed: (r) => (r.subject.reference = 'Task/p1') },
  { name: 'number as a text', fits: rate, seed: (r) => (r.valueQuantity.value = '132') },
  { name: 'two values', fits: rate, seed: (r) => (r.valueString = 'x') },
  { name: 'unit that is no heart rate', fits: rate, seed: (r) => (r.valueQuantity.code = 'mV') },
  { name: 'no vital-sign category', fits: rate, seed: (r) => r.category.shift() },
  { name: 'date that is no date', fits: rate, seed: (r) => { delete r.effectivePeriod; r.effectiveDateTime = '02/03/2026'; } },
  { name: 'element that R4 does not know', fits: rate, seed: (r) => (r.heartRate = 1) },
  { name: 'list where one is expected', fits: rate, seed: (r) => (r.code = [r.code]) },
  { name: 'waveform without a gateway', fits: waveform, seed: (r) => (r.extension = r.extension.filter((one) => !one.url.endsWith('gatewayDevice'))) },
  { name: 'sampled data without a period', fits: waveform, seed: (r) => delete r.component[0].valueSampledData.period },
  { name: 'sampled data without an origin', fits: waveform, seed: (r) => delete r.component[0].valueSampledData.origin },
  { name: 'sample that is no number', fits: waveform, seed: (r) => (r.component[0].valueSampledData.data += ' E') },
  { name: 'sample lost', fits: (r) => waveform(r) && r.effectivePeriod?.end && r.component[0].valueSampledData.period >= 2, seed: (r) => (r.component[0].valueSampledData.data = r.component[0].valueSampledData.data.replace(/ -?\d+$/, '')) },
  { name: 'component with the code of the whole', fits: quality, seed: (r) => { r.component ??= []; r.component.push({ code: r.code, valueBoolean: true }); } },
  { name: 'component without a code', fits: quality, seed: (r) => { r.component ??= [{}]; delete r.component[0].code; } },
  { name: 'wrong fixed type of the box', fits: profiled('PhgDevice'), seed: (r) => (r.type.coding[0].code = '65573') },
  { name: 'wrong system of the box', fits: profiled('PhgDevice'), seed: (r) => (r.identifier.find((one) => one.type).system = 'urn:oid:1.2.3') },
  { name: 'device status that is none', fits: kind('Device'), seed: (r) => (r.status = 'on') },
  { name: 'report without a status', fits: kind('DiagnosticReport'), seed: (r) => delete r.status },
  { name: 'report status that is none', fits: kind('DiagnosticReport'), seed: (r) => (r.status = 'draft') },
  { name: 'result of a wrong kind', fits: (r) => kind('DiagnosticReport')(r) && r.result, seed: (r) => (r.result[0].reference = 'Patient/p1') },
  { name: 'result that leads nowhere', fits: (r) => kind('DiagnosticReport')(r) && r.result, seed: (r) => (r.result[0].reference = 'Observation/nowhere') },
  { name: 'document without content', fits: kind('DocumentReference'), seed: (r) => delete r.content },
  { name: 'document status that is none', fits: kind('DocumentReference'), seed: (r) => (r.status = 'final') },
  { name: 'binary without a type', fits: kind('Binary'), seed: (r) => delete r.contentType },
  { name: 'severity that is none', fits: kind('DetectedIssue'), seed: (r) => (r.severity = 'critical') },
  { name: 'issue status that is none', fits: kind('DetectedIssue'), seed: (r) => (r.status = 'open') },
  { name: 'message priority that is none', fits: kind('Communication'), seed: (r) => (r.priority = 'high') },
  { name: 'message payload without content', fits: kind('Communication'), seed: (r) => (r.payload = [{}]) },
  { name: 'task without an intent', fits: kind('Task'), seed: (r) => delete r.intent },
  { name: 'task intent that is none', fits: kind('Task'), seed: (r) => (r.intent = 'wish') },
  { name: 'task modified before it was made', fits: (r) => kind('Task')(r) && r.authoredOn, seed: (r) => (r.lastModified = '2001-01-01T00:00:00Z') },
  { name: 'gender that is none', fits: kind('Patient'), seed: (r) => (r.gender = 'm') },
  { name: 'national number with a wrong key', fits: withIns, seed: (r) => { const one = r.identifier.find((i) => i.system?.startsWith('urn:oid:1.2.250')); one.value = `${one.value.slice(0, 13)}44`; } },
  { name: 'fictitious patient without its label', fits: withIns, seed: (r) => delete r.meta.security },
  { name: 'provenance without a target', fits: kind('Provenance'), seed: (r) => delete r.target },
  { name: 'provenance without an agent', fits: kind('Provenance'), seed: (r) => delete r.agent },
  { name: 'repeatable create without a value', fits: filing, seed: (r) => (r.entry[0].request.ifNoneExist = r.entry[0].request.ifNoneExist.replace(/\|.*/, '|')) },
];
