// What the translator has done so far, in words of shared memory: it may live in a thread that takes no messages, and
// whoever wants to know reads them. One translator writes them for the whole machine.

import { TRANSLATOR_COUNTERS_BASE } from '../smp/shared-words.ts';
import { PAGE_BYTES, PAGE_VERSIONS_BASE } from '../state/memory-map.ts';

export interface TranslatorCounters {
  /** Blocks that it was asked for: each once, however many vCPUs found it hot. */
  readonly requests: number;
  readonly regions: number;
  /** Requests that nothing is gained by, or that there is no room for. */
  readonly refused: number;
  /** Requests that could not be translated by a defect of ours. */
  readonly failed: number;
  readonly modules: number;
  /** Guest instructions in regions. */
  readonly instructions: number;
  /** Of WebAssembly. */
  readonly bytes: number;
  /** Spent on translating, V8's validation and baseline code included. */
  readonly milliseconds: number;
  /** Regions of earlier machines that were taken over. */
  readonly adopted: number;
  /** What the last failure said. */
  readonly lastFailure: string | undefined;
}

const NAMES = [
  'requests', 'regions', 'refused', 'failed', 'modules', 'instructions', 'bytes', 'milliseconds', 'adopted',
] as const; // biome-ignore format: a list
/** Behind the counters, a double each: bytes of the last failure's text, then the text. */
const TEXT_LENGTH = TRANSLATOR_COUNTERS_BASE + 8 * NAMES.length;
const TEXT = TEXT_LENGTH + 4;
const TEXT_MAX_BYTES = 2000;

/** The translator's side. */
export function publishCounters(memory: WebAssembly.Memory, counters: TranslatorCounters): void {
  const view = new DataView(memory.buffer);
  const text = new TextEncoder().encode(counters.lastFailure ?? '').subarray(0, TEXT_MAX_BYTES);
  new Uint8Array(memory.buffer).set(text, TEXT);
  view.setUint32(TEXT_LENGTH, text.length, true);
  for (const [n, name] of NAMES.entries())
    view.setFloat64(TRANSLATOR_COUNTERS_BASE + 8 * n, counters[name], true);
}

export function readCounters(memory: WebAssembly.Memory): TranslatorCounters {
  const view = new DataView(memory.buffer);
  const value = (n: number) => view.getFloat64(TRANSLATOR_COUNTERS_BASE + 8 * n, true);
  // Casts: an object of all names, in the order of the list.
  const counters = Object.fromEntries(NAMES.map((name, n) => [name, value(n)]));
  const length = Math.min(view.getUint32(TEXT_LENGTH, true), TEXT_MAX_BYTES);
  // A copy: decoders take no shared memory.
  const text = new Uint8Array(memory.buffer).slice(TEXT, TEXT + length);
  const lastFailure = length > 0 ? new TextDecoder().decode(text) : undefined;
  return { ...(counters as unknown as Omit<TranslatorCounters, 'lastFailure'>), lastFailure };
}

/** What became of pages of RAM that code was known of. */
export interface ChangingCode {
  /** Pages that code was run from. */
  readonly pages: number;
  /** Writes to such a page, each on a slow path, and times that a page had code again after it had lost all. */
  readonly changes: number;
  /** Those changed most often, first. */
  readonly most: readonly { readonly gpa: number; readonly changes: number }[];
}

export function changingCode(
  memory: WebAssembly.Memory,
  options: { ramBytes: number; countMax: number },
): ChangingCode {
  const ramPages = options.ramBytes / PAGE_BYTES;
  const versions = new Uint32Array(memory.buffer, PAGE_VERSIONS_BASE, ramPages);
  const changed: { gpa: number; changes: number }[] = [];
  let pages = 0;
  let sum = 0;
  for (const [page, version] of versions.entries()) {
    if (version === 0) continue;
    pages++;
    // The first one is that code was found there.
    const changes = version - 1;
    sum += changes;
    if (changes > 0) changed.push({ gpa: page * PAGE_BYTES, changes });
  }
  const most = changed.toSorted((a, b) => b.changes - a.changes).slice(0, options.countMax);
  return { pages, changes: sum, most };
}
