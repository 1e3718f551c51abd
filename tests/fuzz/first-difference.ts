// Where a failing program begins to differ. On the translator: the smallest budget behind which its state is not the
// interpreter's after as many instructions. On the host, which does not count: the first instruction reached for the
// first time with a difference already made, found by ending the program there.

import { disassemble } from '../../packages/cpu/decode/disassembler.ts';
import { RESULT, TEST } from '../silicon/layout.ts';
import { WORLDS } from '../silicon/worlds.ts';
import { engineDifferences, type Placed, place } from './compare.ts';
import { Engines, isEndless, type Run } from './engines.ts';
import { memoryIndex } from './state.ts';

const SHOWN_MAX = 4;
const INT3 = 0xcc;

/** A line that says where, or undefined if neither way tells. */
export function firstDifference(
  placed: Placed,
  differs: (placed: Placed) => boolean,
): string | undefined {
  return onTranslator(placed) ?? byEndingEarly(placed, differs);
}

function onTranslator(placed: Placed): string | undefined {
  const { slice, translation } = placed.program;
  const run: Run = { test: placed.test, slice, translation };
  const engines = new Engines();
  const { addresses } = engines.trace(run);
  const differsAt = (budget: number): readonly string[] => {
    const translated = new Engines().translateUpTo(run, budget);
    // The instruction that ends a program by its fault does not count.
    const count = Number(translated.instructions) + (isEndless(translated) ? 0 : 1);
    const { result } = engines.trace(run, count);
    // Both stand still between two instructions: how the run ended does not matter.
    return engineDifferences(
      { result: withoutEnd(result) },
      { result: withoutEnd(translated.result) },
    );
  };
  if (!differsAt(addresses.length).length) return undefined;
  let [good, bad] = [0, addresses.length];
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (differsAt(middle).length) bad = middle;
    else good = middle;
  }
  const last = addresses.slice(Math.max(0, bad - SHOWN_MAX), bad);
  const texts = last.map((address) => instructionAt(placed, address));
  return `within ${bad} instructions, the last: ${texts.join('; ')}; then ${differsAt(bad).join(', ')}`;
}
function withoutEnd(result: Uint8Array): Uint8Array {
  const copy = result.slice();
  copy.fill(0, RESULT.vector, RESULT.rip);
  return copy;
}

/** Ends the program at each of its instructions in the order in which they are reached. */
function byEndingEarly(placed: Placed, differs: (placed: Placed) => boolean): string | undefined {
  const { program, kept, addresses, test } = placed;
  const trace = new Engines().trace({
    test,
    slice: program.slice,
    translation: program.translation,
  }).addresses;
  let before: number | undefined;
  for (const address of new Set(trace)) {
    const n = addresses.findIndex((at, item) => kept[item] && at === address);
    if (n < 0) continue;
    const items = program.items.map((item, k) =>
      k === n
        ? {
            bytes: [INT3, ...item.bytes.slice(1)],
            fixups: [],
            flags: item.flags,
            fallsThrough: true,
            targets: [],
          }
        : item,
    );
    if (before !== undefined && differs(place({ ...program, items }, kept)))
      return instructionAt(placed, before);
    before = address;
  }
  return before === undefined ? undefined : instructionAt(placed, before);
}

function instructionAt({ program, test }: Placed, linear: number): string {
  const index = memoryIndex(linear);
  if (index === undefined) return linear.toString(16);
  const bytes = test.slice(TEST.memory + index, TEST.memory + index + 15);
  const [first] = disassemble(bytes, BigInt(linear), WORLDS[program.world].bits, 1);
  return `${linear.toString(16)} ${first?.text ?? '?'}`;
}
