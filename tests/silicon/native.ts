// The host's processor as oracle: compiles runner.c once and runs batches of cases with it.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  CODE,
  CODE_BYTES_MAX,
  LAYOUT,
  type Layout,
  LDT_SEGMENTS,
  type LdtSegment,
  PAGE,
  PAGES,
  TIMED_OUT,
} from './layout.ts';

const SOURCE = fileURLToPath(new URL('./runner.c', import.meta.url));
const CACHE = fileURLToPath(new URL('../../.cache/silicon', import.meta.url));
/** Red zones and thread-local canaries do not go with what the handler does. */
const GCC_OPTIONS = ['-O2', '-mno-red-zone', '-mfsgsbase', '-fno-stack-protector', '-pie', '-fPIE'];

function userDescriptor(s: LdtSegment, entry: number): string {
  return (
    `{ .entry_number = ${entry}, .base_addr = ${s.base}, .limit = ${s.limit}, .contents = ${s.kind}, ` +
    `.seg_32bit = ${+!!s.isBig}, .limit_in_pages = ${+!!s.inPages}, .read_exec_only = ${+!!s.isRestricted}, ` +
    `.seg_not_present = ${+!!s.isAbsent}, .useable = ${+!!s.isAvailable} }`
  );
}

function header(layout: Layout): string {
  const list = (items: readonly string[]) => `{ ${items.join(', ')} }`;
  const values: Readonly<Record<string, string | number>> = {
    CODE: `${CODE}ul`,
    PAGE_BYTES: PAGE,
    CODE_BYTES_MAX,
    MEMORY_BYTES: layout.memoryBytes,
    TIMED_OUT,
    TEST_SIZE: layout.testBytes,
    RESULT_SIZE: layout.resultBytes,
    MEMORY_PARTS: list(layout.parts.map((p) => `{ ${p.address}ul, ${p.bytes} }`)),
    PAGES: list(PAGES.map((p) => `{ ${p.address}ul, ${+p.isCode} }`)),
    LDT_SEGMENTS: list(LDT_SEGMENTS.map(userDescriptor)),
  };
  return Object.entries(values)
    .map(([name, value]) => `#define ${name} ${value}\n`)
    .join('');
}

/** The runner's path; a new one for each version of its source. */
function runner(layout: Layout): string {
  const text = header(layout);
  const version = createHash('sha256').update(readFileSync(SOURCE)).update(text).digest('hex');
  const binary = join(CACHE, `runner-${version.slice(0, 16)}`);
  if (existsSync(binary)) return binary;
  mkdirSync(CACHE, { recursive: true });
  const folder = mkdtempSync(join(CACHE, 'build-'));
  try {
    writeFileSync(join(folder, 'layout.h'), text);
    const made = join(folder, 'runner');
    const gcc = spawnSync('gcc', [...GCC_OPTIONS, '-I', folder, '-o', made, SOURCE], {
      encoding: 'utf8',
    });
    if (gcc.status !== 0) throw new Error(`gcc could not compile runner.c:\n${gcc.stderr}`);
    renameSync(made, binary);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return binary;
}

/** Why this host cannot be compared with, or undefined: it needs x86-64-v3 Linux, gcc, an LDT and FS/GSBASE. */
export function whyNoSilicon(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'the host is no x86-64 Linux';
  if (spawnSync('gcc', ['--version']).status !== 0) return 'there is no gcc';
  const { status, signal } = spawnSync(runner(LAYOUT), ['--probe']);
  if (status === 4) return 'the kernel has no modify_ldt with 16-bit segments';
  if (status === 5) return 'the host has no FSGSBASE';
  if (status === 6) return 'the host is no x86-64-v3 processor';
  return status === 0 ? undefined : `the runner ends with ${status ?? signal}`;
}

/** Runs the cases natively; gives one struct result each. */
export function runNatively(cases: Uint8Array, layout: Layout = LAYOUT): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), 'mimic-silicon-'));
  try {
    const [input, output] = [join(folder, 'cases'), join(folder, 'results')];
    writeFileSync(input, cases);
    const run = spawnSync(runner(layout), [input, output], { encoding: 'utf8' });
    if (run.status !== 0) {
      throw new Error(`runner.c ended with ${run.status ?? run.signal}: ${run.stderr}`);
    }
    return readFileSync(output);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
