// The differential fuzzer: random programs on the interpreter, the translator and the host's processor.
//   npm run fuzz -- --seed N --cases N --engines interpreter,translator,native [--world flat]
//   npm run fuzz -- --seed N --case K [--keep 1,4,9-12]      one program, or some of its items: what reproduces a failure

import { parseArgs } from 'node:util';
import { disassemble } from '../../packages/cpu/decode/disassembler.ts';
import { CODE, TEST } from '../silicon/layout.ts';
import { whyNoSilicon } from '../silicon/native.ts';
import { WORLD_NAMES, WORLDS, type WorldName } from '../silicon/worlds.ts';
import { engineDifferences, goesAstray, hostDifferences, type Placed, place } from './compare.ts';
import {
  ENGINES,
  type EngineName,
  Engines,
  isEndless,
  type Outcome,
  runOnHost,
} from './engines.ts';
import { firstDifference } from './first-difference.ts';
import { minimise } from './minimise.ts';
import { makeProgram } from './program.ts';
import { INSTRUCTIONS_MAX } from './state.ts';

const BATCH = 200;
const PROGRESS_MS = 10_000;

export interface Failure {
  readonly index: number;
  readonly placed: Placed;
  readonly lines: readonly string[];
  /** The program alone, on new processors, does not differ: what ran before matters. */
  readonly needsHistory: boolean;
  /** The first instructions behind which states differ. */
  readonly where?: string | undefined;
}
export interface FuzzOptions {
  readonly seed: number | string;
  readonly from?: number;
  readonly cases: number;
  readonly engines: readonly EngineName[];
  /** The only surroundings to make programs for; without it, all. */
  readonly world?: WorldName | undefined;
  readonly failuresMax?: number;
  readonly progress?: (report: FuzzReport) => void;
}
export interface FuzzReport {
  cases: number;
  /** Programs that did not end within INSTRUCTIONS_MAX and programs that ended by a fault. */
  endless: number;
  faults: number;
  instructions: bigint;
  regions: number;
  /** Regions that another processor took over. */
  adopted: number;
  /** Times that a call of one region was found to lead to a function that it has a copy of. */
  links: number;
  readonly failures: Failure[];
}

/** Lines of differences between the first engine named and each of the others. */
export function differencesOf(
  placed: Placed,
  engines: Engines,
  options: Pick<FuzzOptions, 'engines'>,
  host: () => Outcome,
): { lines: string[]; first: Outcome } {
  const { slice, translation } = placed.program;
  const run = { test: placed.test, slice, translation };
  const interpreted = engines.interpret(run);
  const names = options.engines;
  const lines: string[] = [];
  if (isEndless(interpreted)) return { lines, first: interpreted };
  if (names.includes('translator')) {
    for (const [n, translated] of engines.translate(run).entries()) {
      const found = engineDifferences(interpreted, translated);
      lines.push(...found.map((line) => `translator, run ${n + 1}: ${line}`));
      if (found.length) break;
    }
  }
  if (names.includes('native')) {
    const found = hostDifferences(placed, host(), interpreted);
    if (found.length && !goesAstray(placed, engines.trace(run).addresses)) lines.push(...found);
  }
  return { lines, first: interpreted };
}

export function fuzz(options: FuzzOptions): FuzzReport {
  const { seed, engines: names, from = 0, failuresMax = 10 } = options;
  const engines = new Engines();
  const report: FuzzReport = {
    cases: 0,
    endless: 0,
    faults: 0,
    instructions: 0n,
    regions: 0,
    adopted: 0,
    links: 0,
    failures: [],
  };
  const usesHost = names.includes('native');
  for (
    let at = from;
    at < from + options.cases && report.failures.length < failuresMax;
    at += BATCH
  ) {
    const count = Math.min(BATCH, from + options.cases - at);
    const batch = Array.from({ length: count }, (_, n) => {
      const program = makeProgram(seed, at + n, usesHost, options.world);
      return place(program, program.kept);
    });
    const hosts = usesHost ? runOnHost(batch.map((p) => p.test)) : [];
    batch.forEach((placed, n) => {
      const { lines, first } = differencesOf(placed, engines, options, () => hosts[n]!);
      report.cases++;
      report.instructions += first.instructions ?? 0n;
      if (isEndless(first)) report.endless++;
      else if (first.result[0] !== 3) report.faults++;
      if (lines.length && report.failures.length < failuresMax)
        report.failures.push(examine(at + n, placed, lines, options));
    });
    report.regions = engines.regions;
    report.adopted = engines.adopted;
    report.links = engines.links;
    options.progress?.(report);
  }
  return report;
}

/** Looks at a failure alone on new processors and drops what does not matter. */
function examine(
  index: number,
  placed: Placed,
  lines: readonly string[],
  options: FuzzOptions,
): Failure {
  const again = (kept: readonly boolean[], candidate = place(placed.program, kept)) => {
    return differencesOf(candidate, new Engines(), options, () => runOnHost([candidate.test])[0]!)
      .lines;
  };
  if (!again(placed.kept).length) return { index, placed, lines, needsHistory: true };
  const kept = minimise(placed.program, placed.kept, (candidate) => again(candidate).length > 0);
  const small = place(placed.program, kept);
  const where = firstDifference(small, (candidate) => again(candidate.kept, candidate).length > 0);
  return { index, placed: small, lines: again(kept), needsHistory: false, where };
}

/** '1,4,9-12' for the items that are kept. */
function formatKept(kept: readonly boolean[]): string {
  const parts: string[] = [];
  for (let n = 0; n < kept.length; n++) {
    if (!kept[n]) continue;
    let last = n;
    while (kept[last + 1]) last++;
    parts.push(last > n ? `${n}-${last}` : `${n}`);
    n = last;
  }
  return parts.join(',');
}
function parseKept(text: string, count: number): boolean[] {
  const kept = Array<boolean>(count).fill(false);
  for (const part of text.split(',')) {
    const [first, last = first] = part.split('-').map(Number);
    for (let n = first!; n <= last!; n++) kept[n] = true;
  }
  return kept;
}

/** The program as text: where it lies, its instructions, its registers. */
export function describe({ program, addresses, test }: Placed): string {
  const view = new DataView(test.buffer, test.byteOffset);
  const world = WORLDS[program.world];
  const from = TEST.memory + program.start - CODE;
  const code = test.slice(from, from + addresses.at(-1)! - program.start);
  const gap = program.items.findIndex(({ gapTo }) => gapTo !== undefined);
  const parts =
    gap < 0
      ? [[0, addresses.length - 1]]
      : [
          [0, gap],
          [gap + 1, addresses.length - 1],
        ];
  const lines = parts.flatMap(([first, end]) => {
    const [start, behind] = [addresses[first!]!, addresses[end!]!];
    const bytes = code.subarray(start - program.start, behind - program.start);
    return disassemble(bytes, BigInt(start), world.bits, program.items.length);
  });
  const count = world.bits === 64 ? 16 : 8;
  const registers = Array.from(
    { length: count },
    (_, n) => `${n}:${view.getBigUint64(TEST.gpr + 8 * n, true).toString(16)}`,
  );
  return [
    `${world.name}, ${program.translation}, slices of ${Math.min(program.slice, INSTRUCTIONS_MAX)}, registers ${registers.join(' ')}`,
    ...lines.map(
      (d) => `${d.gva.toString(16)}: ${Buffer.from(d.bytes).toString('hex').padEnd(22)} ${d.text}`,
    ),
  ].join('\n');
}

export function formatFailure(failure: Failure, options: FuzzOptions): string {
  const { index, placed, lines, needsHistory } = failure;
  const which = needsHistory
    ? `--from ${options.from ?? 0} --cases ${index + 1 - (options.from ?? 0)}`
    : `--case ${index} --keep ${formatKept(placed.kept)}`;
  return [
    `npm run fuzz -- --seed ${options.seed} ${which} --engines ${options.engines.join(',')}${options.world ? ` --world ${options.world}` : ''}`,
    ...(needsHistory ? ['(alone it does not differ)'] : []),
    describe(placed),
    ...lines.map((line) => `  ${line}`),
    ...(failure.where ? [`  first difference: ${failure.where}`] : []),
  ].join('\n');
}

function runOne(options: FuzzOptions, index: number, keep: string | undefined): void {
  const program = makeProgram(
    options.seed,
    index,
    options.engines.includes('native'),
    options.world,
  );
  const kept = keep === undefined ? program.kept : parseKept(keep, program.items.length);
  const placed = place(program, kept);
  console.log(describe(placed));
  const host = () => runOnHost([placed.test])[0]!;
  const { lines } = differencesOf(placed, new Engines(), options, host);
  console.log(lines.length ? lines.map((line) => `  ${line}`).join('\n') : 'no difference');
  process.exitCode = lines.length ? 1 : 0;
}

export function main(args: readonly string[]): void {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: 'string', default: '1' },
      cases: { type: 'string', default: '10000' },
      from: { type: 'string', default: '0' },
      engines: { type: 'string', default: 'interpreter,translator' },
      world: { type: 'string' },
      failures: { type: 'string', default: '10' },
      case: { type: 'string' },
      keep: { type: 'string' },
    },
  });
  const engines = ENGINES.filter((name) => values.engines.split(',').includes(name));
  const why = engines.includes('native') ? whyNoSilicon() : undefined;
  if (why) throw new Error(`cannot compare with this host: ${why}`);
  const options: FuzzOptions = {
    seed: values.seed,
    from: Number(values.from),
    cases: Number(values.cases),
    engines,
    world: WORLD_NAMES.find((name) => name === values.world),
    failuresMax: Number(values.failures),
  };
  if (values.case !== undefined) {
    runOne(options, Number(values.case), values.keep);
    return;
  }
  const started = performance.now();
  const tell = (r: FuzzReport) => {
    const seconds = (performance.now() - started) / 1000;
    const rate = (r.cases / seconds).toFixed(0);
    return (
      `${r.cases} programs (${rate}/s), ${r.instructions} instructions, ${r.regions} regions (${r.adopted} taken over), ${r.links} links, ` +
      `${r.faults} faults, ${r.endless} endless, ${r.failures.length} differ`
    );
  };
  let told = started;
  const progress = (r: FuzzReport) => {
    if (performance.now() - told < PROGRESS_MS) return;
    told = performance.now();
    process.stderr.write(`${tell(r)}\n`);
  };
  const report = fuzz({ ...options, progress });
  for (const failure of report.failures) console.log(`${formatFailure(failure, options)}\n`);
  console.log(tell(report));
  process.exitCode = report.failures.length ? 1 : 0;
}

if (import.meta.main) main(process.argv.slice(2));
