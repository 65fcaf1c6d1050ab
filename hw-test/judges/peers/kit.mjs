// The record as fhir-kit-client reads, searches and writes it. Exit 0 when all is as it must be.
//
// usage: CARDIO_FHIR_BASE=… CARDIO_FHIR_TOKEN=… NODE_EXTRA_CA_CERTS=… node kit.mjs MODULES
import { strict as assert } from 'node:assert';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules] = process.argv.slice(2);
const library = join(modules, 'node_modules/fhir-kit-client/dist/index.js');
const { Client } = await import(pathToFileURL(library));
const client = new Client({
  baseUrl: process.env.CARDIO_FHIR_BASE,
  bearerToken: process.env.CARDIO_FHIR_TOKEN,
});

async function all(first) {
  const found = [];
  for (let bundle = first; bundle; bundle = await client.nextPage({ bundle })) {
    assert.equal(bundle.type, 'searchset');
    found.push(...(bundle.entry ?? []));
  }
  return found;
}

async function refused(asking, status) {
  try {
    await asking();
  } catch (error) {
    assert.equal(error.response?.status, status, String(error));
    assert.equal(error.response.data.resourceType, 'OperationOutcome');
    return;
  }
  assert.fail(`nothing was refused with ${status}`);
}

const capabilities = await client.capabilityStatement();
assert.equal(capabilities.fhirVersion, '4.0.1');

const [patient] = await all(await client.search({ resourceType: 'Patient' }));
const id = patient.resource.id;
const subject = `Patient/${id}`;
const observations = await all(
  await client.search({ resourceType: 'Observation', searchParams: { subject, _count: 2 } }),
);
assert.ok(observations.length > 2, 'observations come in pages');
assert.ok(observations.every((entry) => entry.resource.subject.reference === subject));
assert.equal(new Set(observations.map((entry) => entry.resource.id)).size, observations.length);

const reports = await all(
  await client.search({
    resourceType: 'DiagnosticReport',
    searchParams: { subject, _include: 'DiagnosticReport:result' },
  }),
);
const modes = Map.groupBy?.(reports, (entry) => entry.search.mode);
if (modes) assert.ok(modes.get('match')?.length >= 1 && modes.get('include')?.length >= 1);

const report = reports.find((entry) => entry.resource.resourceType === 'DiagnosticReport').resource;
const read = await client.read({ resourceType: 'DiagnosticReport', id: report.id });
assert.deepEqual(read, report);
const history = await client.history({ resourceType: 'DiagnosticReport', id: report.id });
assert.equal(history.type, 'history');
const version = history.entry.at(-1).resource.meta.versionId;
const first = await client.vread({ resourceType: 'DiagnosticReport', id: report.id, version });
assert.equal(first.meta.versionId, version);

const everything = await client.operation({
  name: '$everything', resourceType: 'Patient', id, method: 'GET',
});
assert.ok(everything.entry.length > 3);

const request = {
  resourceType: 'ServiceRequest',
  identifier: [{ system: 'urn:oid:1.2.250.1.213.1.4.10.999', value: 'kit-1' }],
  status: 'active',
  intent: 'order',
  subject: { reference: subject },
};
const ifNoneExist = `identifier=${request.identifier[0].system}|${request.identifier[0].value}`;
const bundle = {
  resourceType: 'Bundle',
  type: 'transaction',
  entry: [{ resource: request, request: { method: 'POST', url: 'ServiceRequest', ifNoneExist } }],
};
const once = await client.transaction({ body: bundle });
const twice = await client.transaction({ body: bundle });
assert.match(once.entry[0].response.status, /^201/);
assert.match(twice.entry[0].response.status, /^200/);
const found = await all(
  await client.search({ resourceType: 'ServiceRequest', searchParams: { identifier: 'kit-1' } }),
);
assert.equal(found.length, 1);

await refused(() => client.read({ resourceType: 'Patient', id: 'nobody' }), 404);
await refused(() => client.search({ resourceType: 'Patient', searchParams: { shoe: '42' } }), 400);
await refused(() => client.create({ resourceType: 'Observation', body: observations[0].resource }), 405);
console.log(`fhir-kit-client: ${observations.length} observations, ${reports.length} with reports`);
