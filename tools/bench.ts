// npm run bench: the same guest on Mimic and on QEMU's TCG in turn, and the ratios of their times.
//   npm run bench -- [--runs 3] [--items int,md5] [--architecture amd64|i386] [--timeout 900]

import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { benchGuest } from './bench/guest.ts';
import { machineCommand, RAM_MIB } from './bench/machines.ts';
import { measure, type Run, type Sample } from './bench/measure.ts';
import { geomean } from './bench/statistics.ts';
import { installMissing } from './debian-packages.ts';
import { ROOT } from './steps.ts';

/** The integer loop retires this many instructions: 200 million rounds of nine. */
const INT_LOOP_INSTRUCTIONS = 200e6 * 9;
/** Items whose last line depends on time or is not a result. */
const NOT_COMPARED = new Set(['boot', 'ddcopy']);

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '3' },
    items: { type: 'string', default: 'all' },
    architecture: { type: 'string', default: 'amd64' },
    accel: { type: 'string' },
    timeout: { type: 'string', default: '900' },
  },
});

/** The least of the runs: what the machine's other work added is noise. */
function least(runs: readonly Run[], name: string, key: 'wall' | 'cpu'): number {
  return Math.min(
    ...runs.map((run) => run.items.get(name)?.[0]?.[key] ?? Number.POSITIVE_INFINITY),
  );
}
function spread(runs: readonly Run[], name: string): string {
  const walls = runs.map((run) => run.items.get(name)?.[0]?.wall ?? Number.NaN);
  return `${Math.min(...walls).toFixed(2)}–${Math.max(...walls).toFixed(2)}`;
}
const peakMiB = (run: Run) => Math.round(run.memory?.peakMiB ?? 0);

function table(mimic: readonly Run[], qemu: readonly Run[]): void {
  const names = [...mimic[0]!.items.keys()].filter((name) => qemu[0]!.items.has(name));
  const ratios: Record<'wall' | 'cpu', number[]> = { wall: [], cpu: [] };
  console.log('item       Mimic wall   QEMU wall  ratio   Mimic cpu  QEMU cpu  ratio  results');
  for (const name of names) {
    const row = (['wall', 'cpu'] as const).map((key) => {
      const ours = least(mimic, name, key);
      const theirs = least(qemu, name, key);
      const ratio = Math.max(ours, 0.01) / Math.max(theirs, 0.01);
      ratios[key].push(ratio);
      return { ours, theirs, ratio };
    });
    const [wall, cpu] = row as [(typeof row)[number], (typeof row)[number]];
    const printed = (samples: readonly Sample[] | undefined) => samples?.[0]?.printed;
    const same = NOT_COMPARED.has(name)
      ? ''
      : printed(mimic[0]!.items.get(name)) === printed(qemu[0]!.items.get(name))
        ? 'same'
        : 'DIFFER';
    console.log(
      `${name.padEnd(9)} ${spread(mimic, name).padStart(12)} ${spread(qemu, name).padStart(11)} ${wall.ratio.toFixed(2).padStart(6)} ` +
        `${cpu.ours.toFixed(2).padStart(11)} ${cpu.theirs.toFixed(2).padStart(9)} ${cpu.ratio.toFixed(2).padStart(6)}  ${same}`,
    );
  }
  console.log(
    `geomean of Mimic/QEMU over ${names.length} items: wall ${geomean(ratios.wall).toFixed(2)}, cpu ${geomean(ratios.cpu).toFixed(2)}`,
  );
  const int = least(mimic, 'int', 'cpu');
  if (Number.isFinite(int))
    console.log(
      `integer loop: ${(INT_LOOP_INSTRUCTIONS / int / 1e6).toFixed(0)} million instructions a CPU second`,
    );
  console.log(
    `peak resident memory, MiB: Mimic ${Math.max(...mimic.map(peakMiB))}, QEMU ${Math.max(...qemu.map(peakMiB))} (guest RAM ${RAM_MIB})`,
  );
}

installMissing({ 'qemu-system-x86_64': 'qemu-system-x86', gcc: 'gcc' });
if (values.architecture !== 'amd64' && values.architecture !== 'i386') {
  process.stderr.write(`error: --architecture is amd64 or i386, not ${values.architecture}\n`);
  process.exit(2);
}
const guest = benchGuest(join(ROOT, '.cache', 'bench'), values.architecture);
const options = {
  guest,
  architecture: values.architecture,
  items: values.items,
  repeat: 1,
  cpuCount: 1,
  accel: values.accel,
  mimicOptions: [],
} as const;
const runs: { mimic: Run[]; qemu: Run[] } = { mimic: [], qemu: [] };
for (let n = 0; n < Number(values.runs); n++) {
  for (const name of ['mimic', 'qemu'] as const) {
    process.stderr.write(`run ${n + 1} of ${values.runs}: ${name} …\n`);
    const run = await measure(machineCommand(name, options), {
      ramMiB: RAM_MIB,
      timeoutMs: Number(values.timeout) * 1000,
    });
    if (run.failure) process.stderr.write(`error: ${name}: ${run.failure}\n`);
    runs[name].push(run);
  }
}
table(runs.mimic, runs.qemu);
if ([...runs.mimic, ...runs.qemu].some((run) => run.failure)) process.exitCode = 1;
