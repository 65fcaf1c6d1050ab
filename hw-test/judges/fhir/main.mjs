// Judges every resource of a folder, and with --self-test the judges themselves.
//
// main.mjs MODULES [--self-test] DIR
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { faults } from './faults.mjs';
import { judgeAll, judgeOne } from './house.mjs';
import { outside } from './outside.mjs';

const args = process.argv.slice(2);
const selfTest = args.includes('--self-test');
const [modules, dir] = args.filter((arg) => arg !== '--self-test');

/** A resource with the place that a message names. @typedef {{place: string, resource: any}} Named */

/** @returns {Named[]} */
function load() {
  const files = readdirSync(dir, { recursive: true })
    .map(String)
    .filter((name) => name.endsWith('.json'))
    .sort();
  return files.flatMap((name) => {
    const resource = JSON.parse(readFileSync(join(dir, name), 'utf8'));
    return open({ place: name, resource });
  });
}

/** A bundle, and each resource that it holds. @returns {Named[]} */
function open(named) {
  const entries = named.resource.resourceType === 'Bundle' ? (named.resource.entry ?? []) : [];
  const held = entries
    .filter((entry) => entry.resource)
    .map((entry, at) => ({ place: `${named.place}#${at}`, resource: entry.resource }));
  return [named, ...held];
}

const started = Date.now();
const judges = outside(modules);
const all = load();
if (all.length === 0) {
  console.log(`no JSON file in ${dir}`);
  process.exit(1);
}

let failures = 0;
for (const { place, resource } of all) {
  for (const judge of [...judges, { name: 'house', judge: judgeOne }]) {
    for (const message of judge.judge(resource)) {
      failures += 1;
      console.log(`FAIL ${place}: ${judge.name}: ${message}`);
    }
  }
}
for (const message of judgeAll(all)) {
  failures += 1;
  console.log(`FAIL ${message}`);
}

const kinds = new Map();
const claimed = new Map();
for (const { resource } of all) {
  kinds.set(resource.resourceType, (kinds.get(resource.resourceType) ?? 0) + 1);
  for (const profile of resource.meta?.profile ?? []) {
    claimed.set(profile, (claimed.get(profile) ?? 0) + 1);
  }
}
const list = (map) => [...map].sort().map(([name, count]) => `${name} ${count}`).join(', ');
console.log(`judged ${all.length} resources: ${list(kinds)}`);
const judged = judges.flatMap((judge) => judge.profiles ?? []);
const unjudged = [...claimed].filter(([profile]) => !judged.includes(profile));
if (unjudged.length > 0) {
  console.log(`profiles claimed that no installable validator knows, judged by house rules only: ${unjudged.map(([name]) => name).sort().join(', ')}`);
}

if (selfTest && failures === 0) {
  failures += runFaults();
}
console.log(`${failures === 0 ? 'PASS' : `${failures} FAILURES`} in ${((Date.now() - started) / 1000).toFixed(1)} s`);
process.exit(failures === 0 ? 0 : 1);

/** Seeds each fault into a resource that can carry it; counts those that nobody notices. */
function runFaults() {
  let missed = 0;
  const noticed = new Map();
  for (const fault of faults) {
    const carrier = all.find(({ resource }) => fault.fits(resource));
    if (!carrier) {
      missed += 1;
      console.log(`MISSED ${fault.name}: no resource here can carry it`);
      continue;
    }
    const seeded = structuredClone(carrier.resource);
    fault.seed(seeded);
    const by = judges
      .filter((judge) => judge.judge(seeded).length > 0)
      .map((judge) => judge.name);
    const others = all.map((one) => (one === carrier ? { ...one, resource: seeded } : one));
    if (judgeOne(seeded).length > 0 || judgeAll(others).length > 0) {
      by.push('house');
    }
    for (const name of by) {
      noticed.set(name, (noticed.get(name) ?? 0) + 1);
    }
    if (by.length === 0) {
      missed += 1;
      console.log(`MISSED ${fault.name} in ${carrier.place}`);
    }
  }
  const outsideOnly = [...noticed].sort().map(([name, count]) => `${name} ${count}`).join(', ');
  console.log(`seeded ${faults.length} faults, ${faults.length - missed} noticed (${outsideOnly})`);
  return missed;
}
