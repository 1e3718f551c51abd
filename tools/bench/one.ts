// One item several times in one boot of one emulator, each time printed as it comes: for work on one item's speed.
//   node tools/bench/one.ts ITEM[,ITEM] [--times 5] [--machine mimic|qemu] [--accel jit] [--cpus 2]
//     [--architecture i386] [--timeout 600] [-- further options of mimic run]

import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from '../steps.ts';
import { benchGuest } from './guest.ts';
import { MACHINES, machineCommand, RAM_MIB } from './machines.ts';
import { measure } from './measure.ts';
import { median } from './statistics.ts';

const split = process.argv.indexOf('--');
const end = split < 0 ? process.argv.length : split;
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
if (machine === undefined || architecture === undefined || positionals.length === 0) {
  process.stderr.write('usage: see the head of tools/bench/one.ts\n');
  process.exit(2);
}
const command = machineCommand(machine, {
  guest: benchGuest(join(ROOT, '.cache', 'bench'), architecture),
  architecture,
  items: positionals.join(','),
  repeat: Number(values.times),
  cpuCount: Number(values.cpus),
  accel: values.accel,
  mimicOptions: process.argv.slice(end + 1),
});
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
