// One item several times in one boot of one emulator, each time printed as it comes: for work on one item's speed.
//   node tools/bench/one.ts ITEM … [--times 5] [--machine mimic|qemu|v86] [--accel jit] [--cpus 2]
//     [--architecture i386] [--timeout 600] [-- further options of the emulator]

import { parseArgs } from 'node:util';
import { benchGuest } from './guest.ts';
import { chooseItems, needsDisk } from './items.ts';
import { MACHINES, machineCommand, RAM_MIB } from './machines.ts';
import { exitOnSignals, measure } from './measure.ts';
import { programsDisk } from './programs-disk.ts';
import { median } from './statistics.ts';
import { v86Files } from './v86.ts';

const split = process.argv.indexOf('--');
const end = split < 0 ? process.argv.length : split;
const further = process.argv.slice(end + 1);
const { values, positionals } = parseArgs({
  args: process.argv.slice(2, end),
  allowPositionals: true,
  options: {
    times: { type: 'string', default: '5' },
    machine: { type: 'string', default: 'mimic' },
    accel: { type: 'string' },
    cpus: { type: 'string', default: '1' },
    architecture: { type: 'string', default: 'amd64' },
    timeout: { type: 'string', default: '600' },
  },
});
const machine = MACHINES.find((name) => name === values.machine);
const architecture = (['amd64', 'i386'] as const).find((name) => name === values.architecture);
const chosen = chooseItems(positionals.join(','));
if (machine === undefined || architecture === undefined || 'unknown' in chosen) {
  process.stderr.write('usage: see the head of tools/bench/one.ts\n');
  process.exit(2);
}
const command = machineCommand(machine, {
  guest: await benchGuest(machine === 'v86' ? 'i386' : architecture),
  disk: needsDisk(chosen.names) ? (await programsDisk()).image : undefined,
  items: chosen.names,
  v86: machine === 'v86' ? await v86Files() : undefined,
  repeat: Number(values.times),
  cpuCount: Number(values.cpus),
  accel: values.accel,
  mimicOptions: machine === 'mimic' ? further : [],
  qemuOptions: machine === 'qemu' ? further : [],
});
exitOnSignals();
const run = await measure(command, {
  ramMiB: RAM_MIB,
  timeoutMs: Number(values.timeout) * 1000,
  onSample: (name, { wall, cpu, printed }) =>
    console.log(`${name} wall ${wall.toFixed(2)} s  cpu ${cpu.toFixed(2)} s  ${printed}`),
});
for (const [name, samples] of run.items) {
  const walls = samples.map(({ wall }) => wall);
  const cpus = samples.map(({ cpu }) => cpu);
  console.log(
    `${name}: wall least ${Math.min(...walls).toFixed(2)} median ${median(walls).toFixed(2)}, ` +
      `cpu least ${Math.min(...cpus).toFixed(2)} median ${median(cpus).toFixed(2)}`,
  );
}
if (run.memory)
  console.log(
    `peak ${run.memory.peakMiB.toFixed(0)} MiB, ` +
      `${(run.memory.peakMiB - run.memory.guestMiB).toFixed(0)} MiB of them not guest RAM`,
  );
if (run.failure) {
  process.stderr.write(`error: ${run.failure}\n`);
  process.exitCode = 1;
}
