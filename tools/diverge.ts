// npm run diverge: runs a guest on two engines side by side and finds the first instruction that they disagree about.
//   npm run diverge -- --engines interpreter,single [--kernel FILE --initrd FILE --append TEXT] [--memory 96M] [--cpu v2]
//     [--replay RECORDING] [--from 0] [--instructions 200000000]
// Without a kernel it boots Debian's. The exit code is 0 when both are the same.

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { CpuModelName, MachineOptions } from '@mimic/machine';
import { ENGINES, runner } from './diverge/engines.ts';
import { type Divergence, findDivergence } from './diverge/search.ts';
import { shellInitramfs } from './guests/initramfs.ts';
import { debianBusybox, debianKernel } from './guests/kernels.ts';

const { values } = parseArgs({
  options: {
    engines: { type: 'string', default: 'interpreter,single' },
    kernel: { type: 'string' },
    initrd: { type: 'string' },
    append: { type: 'string', default: 'console=ttyS0 quiet cryptomgr.notests' },
    memory: { type: 'string', default: '96M' },
    cpu: { type: 'string' },
    replay: { type: 'string' },
    from: { type: 'string', default: '0' },
    instructions: { type: 'string', default: '200000000' },
  },
});

async function images(): Promise<Pick<MachineOptions, 'kernel' | 'initrd'>> {
  const { kernel, initrd } = values;
  if (kernel !== undefined) {
    return { kernel: readFileSync(kernel), ...(initrd && { initrd: readFileSync(initrd) }) };
  }
  const debian = await debianKernel('cloud-amd64');
  const busybox = await debianBusybox(debian.architecture);
  return { kernel: readFileSync(debian.image), initrd: shellInitramfs(busybox) };
}

function describe(found: Divergence, names: readonly [string, string]): string {
  const { gva, text, bytes } = found.instruction;
  const code = Buffer.from(bytes).toString('hex');
  const rows = found.differences.map(({ what, left, right }) => [what, left, right]);
  const widths = [0, 1].map((n) => Math.max(...rows.map((row) => row[n]!.length), names[0].length));
  const line = (row: readonly string[]) =>
    `  ${row[0]!.padEnd(widths[0]!)}  ${row[1]!.padEnd(widths[1]!)}  ${row[2]!}`;
  return [
    `Behind ${found.count} instructions both are the same; the next one differs:`,
    `  0x${gva.toString(16)}  ${code}  ${text}`,
    line(['', ...names]),
    ...rows.map(line),
  ].join('\n');
}

const [first = '', second = ''] = values.engines.split(',');
const [left, right] = [ENGINES[first], ENGINES[second]];
if (left === undefined || right === undefined) {
  process.stderr.write(`error: --engines wants two of ${Object.keys(ENGINES).join(', ')}\n`);
  process.exit(2);
}
const options: MachineOptions = {
  ...(await images()),
  append: values.append,
  memory: values.memory,
  // The machine checks the name.
  ...(values.cpu && { cpu: values.cpu as CpuModelName }),
  ...(values.replay === undefined ? {} : { replay: readFileSync(values.replay, 'utf8') }),
};
const found = await findDivergence(runner(options, left), runner(options, right), {
  from: Number(values.from),
  instructionsMax: Number(values.instructions),
  progress: (text) => process.stderr.write(`${text}\n`),
});
if (found === undefined)
  process.stdout.write(`no difference in ${values.instructions} instructions\n`);
else {
  process.stdout.write(`${describe(found, [first, second])}\n`);
  process.exitCode = 1;
}
