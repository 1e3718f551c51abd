// Recorded vectors as text, one a line:
//   mode code seed undefined-flags overrides... > result... ; assembly
// Numbers are hexadecimal but for mode and seed. Overrides and results are register=value, flags=value, d16=bytes (data
// window), s64=bytes (stack window). A result says what changed; rip= is the target of a taken jump, relative to the
// code; #6 is a fault's vector.

import { type Inputs, inputs, REGISTER_NAMES } from './inputs.ts';
import type { Overrides } from './templates.ts';

export interface Vector {
  readonly mode: 32 | 64;
  readonly code: Uint8Array;
  readonly undefinedFlags: number;
  readonly before: Inputs;
  readonly after: Inputs;
  /** Vector of the fault, or undefined. */
  readonly fault: number | undefined;
  /** Where it goes on, relative to the code. */
  readonly next: number;
  readonly assembly: string;
}

/** Puts named values into a copy of the inputs. */
export function applyOverrides(from: Inputs, overrides: Overrides): Inputs {
  const registers = [...from.registers];
  const data = from.data.slice();
  const stack = from.stack.slice();
  let { flags } = from;
  for (const [name, value] of Object.entries(overrides)) {
    if (value instanceof Uint8Array)
      (name.startsWith('d') ? data : stack).set(value, Number(name.slice(1)));
    else if (name === 'flags') flags = Number(value);
    else registers[REGISTER_NAMES.indexOf(name as (typeof REGISTER_NAMES)[number])] = value;
  }
  return { registers, flags, data, stack };
}

export function formatOverrides(overrides: Overrides): string[] {
  return Object.entries(overrides).map(([name, value]) => {
    const text =
      value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value.toString(16);
    return `${name}=${text}`;
  });
}

function parseOverrides(words: readonly string[]): Overrides {
  const result: Overrides = {};
  for (const word of words) {
    const [name = '', text = ''] = word.split('=');
    const isBytes = /^[ds]\d+$/.test(name);
    result[name] = isBytes ? Uint8Array.from(Buffer.from(text, 'hex')) : BigInt(`0x${text}`);
  }
  return result;
}

export function parseVector(line: string): Vector {
  const [left = '', right = ''] = line.split(' ; ')[0]!.split(' > ');
  const [mode, code = '', seed, mask = '', ...overrides] = left.split(' ');
  const results = right.split(' ').filter((word) => word !== '');
  const bytes = Uint8Array.from(Buffer.from(code, 'hex'));
  const before = applyOverrides(inputs(Number(seed), Number(mode)), parseOverrides(overrides));
  const rip = results.find((word) => word.startsWith('rip='));
  const fault = results.find((word) => word.startsWith('#'));
  const changed = results.filter((word) => word !== rip && word !== fault);
  return {
    mode: Number(mode) as 32 | 64,
    code: bytes,
    undefinedFlags: Number.parseInt(mask, 16),
    before,
    after: applyOverrides(before, parseOverrides(changed)),
    fault: fault === undefined ? undefined : Number(fault.slice(1)),
    next: rip === undefined ? bytes.length : Number.parseInt(rip.slice(4), 16),
    assembly: line.split(' ; ')[1] ?? '',
  };
}
