// Rules of the device guides and of French identities that no installable validator knows,
// and rules over a whole folder. Written from the standards, apart from the product's code.

const MDC = 'urn:iso:std:iso:11073:10101';
const EUI64 = 'urn:oid:1.2.840.10004.1.1.1.0.0.1.0.0.1.2680';
const PHD = 'http://hl7.org/fhir/uv/phd/StructureDefinition/';
const PHD_CATEGORY = 'http://hl7.org/fhir/uv/phd/CodeSystem/PhdObservationCategories';
const MEASUREMENT_STATUS = 'http://hl7.org/fhir/uv/pocd/CodeSystem/measurement-status';
const GATEWAY = 'http://hl7.org/fhir/StructureDefinition/observation-gatewayDevice';
const INS = 'urn:oid:1.2.250.1.213.1.4.';
const HTEST = 'HTEST';

const codings = (concept) => concept?.coding ?? [];
const has = (concept, system, code) =>
  codings(concept).some((one) => one.system === system && (!code || one.code === code));
const claims = (resource, name) =>
  (resource.meta?.profile ?? []).some((profile) => profile === PHD + name);
const isTest = (resource) => (resource.meta?.security ?? []).some((one) => one.code === HTEST);

/** What is wrong with one resource. @returns {string[]} */
export function judgeOne(resource) {
  const judges = { Device: device, Observation: observation, Patient: patient, Bundle: bundle };
  return [...identifiers(resource), ...(judges[resource.resourceType]?.(resource) ?? [])];
}

function identifiers(resource) {
  const list = [resource.identifier ?? [], resource.masterIdentifier ?? []].flat();
  return list
    .filter((one) => !one.system || !one.value)
    .map(() => 'identifier: system and value are both needed');
}

function device(resource) {
  const said = [];
  const fixed = { PhgDevice: '531981', PhdDevice: '65573' };
  for (const [profile, code] of Object.entries(fixed)) {
    if (!claims(resource, profile)) continue;
    if (!has(resource.type, MDC, code)) said.push(`type: ${profile} fixes ${MDC}|${code}`);
    const hardware = (resource.identifier ?? []).filter((one) => codings(one.type).length > 0);
    if (hardware.length === 0) said.push(`identifier: ${profile} needs one of the hardware`);
  }
  for (const one of resource.identifier ?? []) {
    if (codings(one.type).some((type) => type.code === 'SYSID') && one.system !== EUI64) {
      said.push(`identifier.system: a SYSID has the system ${EUI64}`);
    }
    if (one.system === EUI64 && !/^([0-9A-F]{2}-){7}[0-9A-F]{2}$/.test(one.value)) {
      said.push('identifier.value: not an EUI-64 with dashes');
    }
  }
  return said;
}

function observation(resource) {
  const said = [...(resource.valueSampledData ? sampled(resource.valueSampledData, resource) : [])];
  for (const part of resource.component ?? []) {
    if (part.valueSampledData) said.push(...sampled(part.valueSampledData, resource));
  }
  if (has({ coding: (resource.category ?? []).flatMap(codings) }, PHD_CATEGORY, 'phd')) {
    said.push(...phdObservation(resource));
  }
  const heart = (resource.meta?.profile ?? []).includes('http://hl7.org/fhir/StructureDefinition/heartrate');
  if (heart && resource.valueQuantity && resource.valueQuantity.code !== '/min') {
    said.push('valueQuantity.code: a heart rate is in /min');
  }
  if (heart && resource.derivedFrom) said.push('derivedFrom: a heart rate names no waveform');
  if (resource.dataAbsentReason && Object.keys(resource).some((key) => key.startsWith('value'))) {
    said.push('dataAbsentReason: with a reason there is no value');
  }
  return said;
}

function phdObservation(resource) {
  const said = [];
  const gateways = (resource.extension ?? []).filter((one) => one.url === GATEWAY);
  if (gateways.length !== 1) said.push(`extension: exactly one ${GATEWAY}`);
  if (!resource.device) said.push('device: the sensor is needed');
  if (!resource.effectiveDateTime && !resource.effectivePeriod) said.push('effective[x] is needed');
  const profiled = (resource.meta?.profile ?? []).some((profile) => profile.startsWith(PHD));
  if (profiled && !resource.subject) said.push('subject: the profile needs one');
  if (profiled && resource.interpretation) {
    const status = resource.interpretation.some((one) => has(one, MEASUREMENT_STATUS));
    if (!status) said.push('interpretation: one coding must be a measurement status');
  }
  for (const one of resource.identifier ?? []) {
    if (one.system === `${PHD}PhdBaseObservation` && one.type) {
      said.push('identifier.type: this identifier has none');
    }
  }
  return said;
}

function sampled(data, resource) {
  const said = [];
  const bad = (text) => said.push(`valueSampledData.${text}`);
  if (data.origin?.code !== 'mV' || data.origin?.system !== 'http://unitsofmeasure.org') {
    bad('origin: an ECG is in mV of UCUM');
  }
  if (!(data.period > 0)) bad('period: above zero, in milliseconds');
  if (!data.factor) bad('factor is needed');
  if (data.dimensions !== 1) bad('dimensions: 1');
  if (!/^-?\d+( -?\d+)*$/.test(data.data ?? '')) return [...said, 'valueSampledData.data: integers only'];
  const { start, end } = resource.effectivePeriod ?? {};
  if (start && end) {
    const count = data.data.split(' ').length;
    const length = Date.parse(end) - Date.parse(start);
    const expected = (count - 1) * data.period;
    if (Math.abs(length - expected) > 1.5) {
      bad(`data: ${count} samples last ${expected} ms, the period ${length} ms`);
    }
  }
  return said;
}

function patient(resource) {
  const said = [];
  const status = (resource.extension ?? [])
    .flatMap((one) => one.extension ?? [])
    .find((one) => one.url === 'identityStatus')?.valueCoding?.code;
  for (const one of resource.identifier ?? []) {
    if (!one.system?.startsWith(INS)) continue;
    const register = one.system.slice(INS.length);
    if (status !== 'VALI' && status !== 'QUAL') said.push('identifier: an INS needs a checked identity');
    if ((register === '10' || register === '11') !== isTest(resource)) {
      said.push('identifier: fictitious numbers stand on fictitious patients, and only there');
    }
    if (!insKey(one.value)) said.push('identifier.value: the key does not belong to the number');
  }
  return said;
}

function insKey(value) {
  if (!/^\d{6}[\dAB]\d{8}$/.test(value)) return false;
  const digits = value.slice(0, 13).replace(/^(.{5})2A/, '$119').replace(/^(.{5})2B/, '$118');
  return 97n - (BigInt(digits) % 97n) === BigInt(value.slice(13));
}

function bundle(resource) {
  return (resource.entry ?? [])
    .filter((entry) => entry.request?.method === 'POST')
    .filter((entry) => !/^identifier=[^|]+\|[^|]+$/.test(entry.request.ifNoneExist ?? ''))
    .map(() => 'entry.request.ifNoneExist: a repeatable create names system and value');
}

/** What is wrong with a folder as a whole. @returns {string[]} */
export function judgeAll(all) {
  const present = new Map();
  for (const { resource } of all) {
    if (resource.id) present.set(`${resource.resourceType}/${resource.id}`, resource);
  }
  const kinds = new Set([...present.keys()].map((name) => name.split('/')[0]));
  const fictitious = new Set(
    [...present].filter(([name, one]) => name.startsWith('Patient/') && isTest(one)).map(([name]) => name),
  );
  const said = [];
  for (const { place, resource } of all) {
    if (resource.resourceType === 'Bundle') continue;
    for (const address of references(resource)) {
      // What lives in other systems (people, organisations, requests) cannot be looked up here.
      const [kind] = address.split('/');
      if (kinds.has(kind) && !present.has(address)) said.push(`${place}: ${address} is nowhere`);
    }
    const about = [resource.subject, resource.patient, resource.for].map((one) => one?.reference);
    if (about.some((address) => fictitious.has(address)) && !isTest(resource)) {
      said.push(`${place}: about a fictitious patient, but not labelled as test data`);
    }
  }
  return said;
}

function references(value) {
  if (Array.isArray(value)) return value.flatMap(references);
  if (value === null || typeof value !== 'object') return [];
  return Object.entries(value).flatMap(([key, one]) =>
    key === 'reference' && typeof one === 'string' && /^[A-Z][A-Za-z]+\/[^/]+$/.test(one)
      ? [one]
      : references(one),
  );
}
