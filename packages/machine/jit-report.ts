// What translation of guest code has come to, for programs and for people: `machine.jit()` and the monitor's `info jit`.

import {
  type ChangingCode,
  changingCode,
  type RunCounters,
  readCounters,
  type TranslatorCounters,
} from '@mimic/cpu/outline';

/** Pages that are named. */
const PAGES_MAX = 8;
/** Lines of a failure's text that are shown: what it says, and where. */
const FAILURE_LINES = 4;

export interface JitReport {
  /** Undefined when all code is interpreted. */
  readonly translator: TranslatorCounters | undefined;
  /** One for each processor. */
  readonly processors: readonly RunCounters[];
  readonly changing: ChangingCode;
}

export function jitReport(options: {
  memory: WebAssembly.Memory;
  ramBytes: number;
  processors: readonly RunCounters[];
  isTranslated: boolean;
}): JitReport {
  const { memory, ramBytes, processors, isTranslated } = options;
  return {
    translator: isTranslated ? readCounters(memory) : undefined,
    processors,
    changing: changingCode(memory, { ramBytes, countMax: PAGES_MAX }),
  };
}

const ROWS: readonly [name: string, value: (counters: RunCounters) => number][] = [
  ['blocks found hot', (c) => c.requests],
  ['  put off: no room to ask', (c) => c.putOff],
  ['modules instantiated', (c) => c.modules],
  ['regions taken over', (c) => c.regions],
  ['  too late: page had changed', (c) => c.outdated],
  ['blocks decoded', (c) => c.decoded],
  ['  dropped by writes', (c) => c.dropped],
  ['  of them regions', (c) => c.droppedTranslated],
  ['  store emptied', (c) => c.emptied],
  ['jumps not linked', (c) => c.jumpFills],
  ['jump cache flushed', (c) => c.jumpFlushes],
  ['faults in regions', (c) => c.translatedFaults],
  ['slices ended by time or event', (c) => c.exits.event + c.exits.budget],
  ['  by halting', (c) => c.exits.halted],
  ['  by triple fault', (c) => c.exits.shutdown],
];

export function formatJitReport({ translator, processors, changing }: JitReport): string {
  const lines =
    translator === undefined ? ['all code is interpreted'] : translatorLines(translator);
  lines.push('', table(processors), '');
  lines.push(`pages of code: ${changing.pages}, changed ${changing.changes} times`);
  for (const { gpa, changes } of changing.most) lines.push(`  ${hex(gpa, 9)}  ${changes}`);
  return lines.join('\n');
}

function translatorLines(counters: TranslatorCounters): string[] {
  const { requests, regions, refused, failed, modules, instructions, bytes } = counters;
  const each = (sum: number, count: number) => (count ? (sum / count).toFixed(1) : '0');
  const lines = [
    `requests      ${requests}: ${regions} translated, ${refused} refused, ${failed} failed`,
    `regions       ${regions} in ${modules} modules; ${counters.adopted} kept from earlier machines`,
    `instructions  ${instructions}, ${each(instructions, regions)} a region`,
    `WebAssembly   ${bytes} bytes, ${each(bytes, instructions)} an instruction`,
    `time          ${counters.milliseconds.toFixed(0)} ms, ${each(counters.milliseconds, modules)} a module`,
  ];
  if (counters.lastFailure !== undefined) {
    lines.push('last failure, a bug in Mimic:');
    const text = counters.lastFailure.split('\n').slice(0, FAILURE_LINES);
    lines.push(...text.map((line) => `  ${line.trim()}`));
  }
  return lines;
}

/** A column for each processor. */
function table(processors: readonly RunCounters[]): string {
  const cells = ROWS.map(([, value]) => processors.map((counters) => String(value(counters))));
  const heads = processors.map((_, index) => `cpu ${index}`);
  const nameWidth = Math.max(...ROWS.map(([name]) => name.length));
  const widths = heads.map((head, n) =>
    Math.max(head.length, ...cells.map((row) => row[n]!.length)),
  );
  const line = (name: string, row: readonly string[]) =>
    `${name.padEnd(nameWidth)}  ${row.map((cell, n) => cell.padStart(widths[n]!)).join('  ')}`;
  return [line('', heads), ...ROWS.map(([name], n) => line(name, cells[n]!))].join('\n');
}

function hex(value: number, digits: number): string {
  return `0x${value.toString(16).padStart(digits, '0')}`;
}
