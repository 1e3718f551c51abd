// npm run bench: the same guest on Mimic and on QEMU's TCG (or v86) in turn, and the ratios of their times.
//   npm run bench -- [--runs 3] [--items suite,programs,parallel,int,…] [--quick] [--peer qemu,v86] [--cpus 1,2]
//     [--peer base --base CHECKOUT [--base-accel interpreter]] [--accel jit|interpreter] [--architecture amd64|i386] [--qemu-cpu MODEL] [--timeout 1800]
//     [--no-keep] [--json FILE] [--from FILE] [--write docs/benchmarks.md] [-- further options of mimic run]
// Mimic's runs find what runs before them kept of translated code; the first one, with nothing kept, is told apart.
// --no-keep throws it away before each run. The numbers go to .cache/bench/results too; --from makes tables and pages of such a file without running anything.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { BENCH_CACHE, benchGuest } from './bench/guest.ts';
import { chooseItems, needsDisk } from './bench/items.ts';
import {
  MACHINE_TITLES,
  type MachineName,
  type MachineOptions,
  machineCommand,
  RAM_MIB,
} from './bench/machines.ts';
import { exitOnSignals, measure } from './bench/measure.ts';
import { benchmarkPage } from './bench/page.ts';
import { programsDisk } from './bench/programs-disk.ts';
import { commitName, hostDescription, programVersions } from './bench/provenance.ts';
import {
  compare,
  type MachineRun,
  pairings,
  RESULTS_VERSION,
  type Results,
} from './bench/results.ts';
import { comparisonText, speedups } from './bench/table.ts';
import { v86Files } from './bench/v86.ts';
import { installMissing } from './debian-packages.ts';
import { ROOT } from './steps.ts';

const QUICK_ITEMS = 'int,fib,forkx';
const PEERS = ['qemu', 'v86', 'base'] as const;
/** With more of the computer's work than this, wall times are noise. */
const LOAD_MAX = 0.7;
/** Cache folders of Mimic's runs, one for each plan and checkout: what others kept would not be found in a first run. */
const KEPT = join(BENCH_CACHE, 'kept');
type Peer = (typeof PEERS)[number];

const split = process.argv.indexOf('--', 2);
const end = split < 0 ? process.argv.length : split;
const mimicOptions = process.argv.slice(end + 1);
const { values } = parseArgs({
  args: process.argv.slice(2, end),
  options: {
    runs: { type: 'string' },
    items: { type: 'string' },
    quick: { type: 'boolean', default: false },
    peer: { type: 'string', default: 'qemu' },
    cpus: { type: 'string', default: '1' },
    accel: { type: 'string' },
    architecture: { type: 'string', default: 'amd64' },
    'qemu-cpu': { type: 'string' },
    base: { type: 'string' },
    'base-accel': { type: 'string' },
    timeout: { type: 'string', default: '1800' },
    'no-keep': { type: 'boolean', default: false },
    json: { type: 'string' },
    from: { type: 'string' },
    write: { type: 'string' },
  },
});

const base =
  values.base === undefined
    ? undefined
    : { root: resolve(values.base), accel: values['base-accel'] };

function refuse(message: string): never {
  process.stderr.write(`error: ${message}\nhint: the head of tools/bench.ts lists the options\n`);
  process.exit(2);
}

/** Positive whole numbers with commas between. */
function counts(option: string, text: string): number[] {
  const numbers = text.split(',').map(Number);
  if (numbers.every((value) => Number.isInteger(value) && value > 0)) return numbers;
  return refuse(`--${option} takes positive numbers, not ${text}`);
}

interface Plan {
  readonly peer: Peer;
  readonly options: MachineOptions;
}

/** What is to be compared, with guests and disks built. */
async function makePlans(): Promise<Plan[]> {
  const cpuCounts = counts('cpus', values.cpus);
  const defaults = cpuCounts.some((count) => count > 1)
    ? 'suite,programs,parallel'
    : 'suite,programs';
  const chosen = chooseItems(values.items ?? (values.quick ? QUICK_ITEMS : defaults));
  if ('unknown' in chosen) return refuse(`there is no item or group ${chosen.unknown}`);
  const architecture = (['amd64', 'i386'] as const).find((name) => name === values.architecture);
  if (architecture === undefined) return refuse('--architecture is amd64 or i386');
  const peers = values.peer
    .split(',')
    .map((word) => PEERS.find((peer) => peer === word) ?? refuse(`there is no peer ${word}`));
  if (peers.includes('base') && values.base === undefined)
    return refuse('--peer base needs --base, another checkout of Mimic');
  installMissing({
    gcc: 'gcc',
    ...(peers.includes('qemu') ? { 'qemu-system-x86_64': 'qemu-system-x86' } : {}),
  });
  const plans: Plan[] = [];
  for (const peer of peers) {
    // v86 has no 64-bit mode and one processor; the disk's programs are for amd64.
    const guest = await benchGuest(peer === 'v86' ? 'i386' : architecture);
    const items = chosen.names.filter(
      (name) => guest.architecture === 'amd64' || !needsDisk([name]),
    );
    const disk = needsDisk(items) ? (await programsDisk()).image : undefined;
    const v86 = peer === 'v86' ? await v86Files() : undefined;
    for (const cpuCount of peer === 'v86' ? [1] : cpuCounts)
      plans.push({
        peer,
        options: {
          ...{ guest, disk, items, cpuCount, v86, base },
          repeat: 1,
          accel: values.accel,
          mimicOptions,
          qemuOptions: values['qemu-cpu'] === undefined ? [] : ['-cpu', values['qemu-cpu']],
        },
      });
  }
  return plans;
}

async function runOnce(machine: MachineName, { peer, options }: Plan): Promise<MachineRun> {
  const { guest: of, cpuCount } = options;
  const kept = join(KEPT, `${machine}-${peer}-${of.architecture}-${cpuCount}`);
  if (values['no-keep']) rmSync(join(kept, 'mimic/translations'), { recursive: true, force: true });
  // Read once before, so that the first machine is not the only one to wait for the host's disk.
  if (options.disk !== undefined) readFileSync(options.disk);
  const { items, guest, memory, failure } = await measure(machineCommand(machine, options), {
    ramMiB: RAM_MIB,
    timeoutMs: counts('timeout', values.timeout)[0]! * 1000,
    env: { XDG_CACHE_HOME: kept },
    onSample: (name, { wall, cpu }) =>
      process.stderr.write(
        `  ${name.padEnd(9)} wall ${wall.toFixed(2)} s  cpu ${cpu.toFixed(2)} s\n`,
      ),
  });
  const title = MACHINE_TITLES[machine];
  if (failure) process.stderr.write(`error: ${title}: ${failure}\n`);
  return {
    machine: title,
    peer: MACHINE_TITLES[peer],
    architecture: options.guest.architecture,
    cpuCount,
    guest,
    items: Object.fromEntries(items),
    memory,
    failure,
  };
}

/** Runs everything, saving after each pair: whoever stops a long bench keeps what it has. */
async function runAll(): Promise<Results> {
  const runCount = counts('runs', values.runs ?? (values.quick ? '1' : '3'))[0]!;
  const plans = await makePlans();
  const results = { ...(await describe(plans)), runs: [] as MachineRun[] };
  const { load } = results.host;
  if (load > LOAD_MAX)
    process.stderr.write(
      `warning: this computer is busy (load ${load.toFixed(1)}): wall times will be noise, CPU times less so\n`,
    );
  const path = resultsPath(results.date);
  // Without first runs, the processor had better not be built anew.
  if (!values['no-keep']) {
    rmSync(KEPT, { recursive: true, force: true });
    for (const plan of plans) await runFirst(plan, results.runs);
    save(results, path);
  }
  for (let n = 1; n <= runCount; n++) {
    for (const plan of plans) {
      const { guest, cpuCount } = plan.options;
      // Mimic's runs are paired with the peer's by their order: see results.ts.
      for (const machine of ['mimic', plan.peer] as const) {
        process.stderr.write(
          `run ${n} of ${runCount}: ${MACHINE_TITLES[machine]}, ${guest.architecture}, ${cpuCount} cpu\n`,
        );
        results.runs.push(await runOnce(machine, plan));
      }
      save(results, path);
    }
  }
  process.stderr.write(`The numbers are in ${path}\n`);
  return results;
}

/** Before all others: with nothing kept. */
async function runFirst(plan: Plan, runs: MachineRun[]): Promise<void> {
  const { guest, cpuCount } = plan.options;
  for (const machine of ['mimic', ...(plan.peer === 'base' ? (['base'] as const) : [])] as const) {
    process.stderr.write(
      `first run: ${MACHINE_TITLES[machine]}, ${guest.architecture}, ${cpuCount} cpu\n`,
    );
    runs.push({ ...(await runOnce(machine, plan)), isFirst: true });
  }
}

async function describe(plans: readonly Plan[]): Promise<Omit<Results, 'runs'>> {
  const onDisk = plans.some(({ options }) => options.disk !== undefined);
  return {
    version: RESULTS_VERSION,
    date: new Date().toISOString(),
    commit: await commitName(ROOT),
    host: hostDescription(),
    versions: await programVersions({
      peers: plans.map(({ peer }) => peer),
      releases: plans.map(
        ({ options }) => `Linux ${options.guest.release} (${options.guest.architecture})`,
      ),
      packages: onDisk ? (await programsDisk()).versions : [],
      baseRoot: base?.root,
    }),
    ramMiB: RAM_MIB,
    accel: values.accel,
    keeps: !values['no-keep'],
    mimicOptions,
    command: `npm run bench -- ${process.argv.slice(2).join(' ')}`.trim(),
  };
}

function resultsPath(date: string): string {
  const name = `${date.replaceAll(/[^\dT]/g, '').slice(0, 15)}.json`;
  return resolve(values.json ?? join(BENCH_CACHE, 'results', name));
}

function save(results: Results, path: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(results, undefined, 1)}\n`);
}

function load(path: string): Results {
  const results = JSON.parse(readFileSync(path, 'utf8')) as Results;
  if (results.version === RESULTS_VERSION) return results;
  return refuse(`${path} has version ${results.version} of the results, not ${RESULTS_VERSION}`);
}

function write(results: Results, path: string): void {
  const { text, plots } = benchmarkPage(results, basename(path, '.md'));
  writeFileSync(path, text);
  for (const [name, plot] of plots) writeFileSync(join(dirname(path), name), plot);
}

exitOnSignals();
const results = values.from === undefined ? await runAll() : load(values.from);
const comparisons = pairings(results).map((pairing) => compare(results, pairing));
for (const comparison of comparisons) console.log(comparisonText(comparison));
for (const { machine, name, cpuCount, factor } of speedups(results))
  console.log(
    `${machine}: ${name} is ${factor.toFixed(2)} times as fast with ${cpuCount} processors`,
  );
if (values.write !== undefined) write(results, resolve(ROOT, values.write));
const isBad = comparisons.some(
  ({ failures, rows }) =>
    failures.length > 0 || rows.some((row) => row.results === 'FAILED' || row.results === 'DIFFER'),
);
if (isBad) process.exitCode = 1;
