// The verifier finds what is wrong, and finds nothing wrong in any handler or microcode function that we have.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { buildHandlers } from '../interpreter/handlers.ts';
import { buildLoop, FIRST_HANDLER } from '../interpreter/loop.ts';
import { readFlagsFunction, writeFlagsFunction } from '../microcode/host-interface.ts';
import { translateFetch } from '../microcode/memory.ts';
import { updateMode } from '../microcode/mode.ts';
import { walk } from '../microcode/page-walk.ts';
import { flushNotGlobal, flushPage, flushTlb } from '../microcode/tlb.ts';
import { calleesOf, EXIT_CODES } from './assemble.ts';
import type { FunctionRef } from './function.ts';
import type { InstructionExit, Node, Statement } from './ir.ts';
import { newLocal } from './lift.ts';
import { printStatements } from './print.ts';
import { build } from './testing/run.ts';
import { verify } from './verify.ts';

const handlers = buildHandlers(FIRST_HANDLER);
const EXITS = Object.keys(EXIT_CODES) as InstructionExit[];

test('all inlined handlers are well-formed', () => {
  for (const { name, statements } of handlers.hot) {
    assert.deepEqual(
      verify(statements, { result: undefined, exits: EXITS, given: [handlers.recordLocal] }),
      [],
      name,
    );
  }
  assert.ok(handlers.hot.length > 50);
});

test('all handler functions are well-formed', () => {
  for (const { name, statements } of handlers.functions) {
    assert.deepEqual(verify(statements!, { result: undefined, exits: EXITS }), [], name);
  }
  assert.ok(handlers.functions.length > 1000);
});

/** Every function that a handler, the loop or the host calls, directly or not. */
function microcode(): FunctionRef[] {
  const found = new Set<FunctionRef>();
  const queue: FunctionRef[] = [
    walk,
    flushTlb,
    flushNotGlobal,
    flushPage,
    translateFetch,
    readFlagsFunction,
    writeFlagsFunction,
    updateMode,
  ];
  queue.push(...buildLoop(handlers).uses);
  for (const { statements } of [...handlers.hot, ...handlers.functions])
    calleesOf(statements!, (callee) => queue.push(callee));
  for (let ref = queue.pop(); ref; ref = queue.pop()) {
    if (found.has(ref) || !ref.build) continue;
    found.add(ref);
    calleesOf(build(ref).statements, (callee) => queue.push(callee));
  }
  return [...found];
}

test('all microcode functions are well-formed, and give a value on every path', () => {
  const functions = microcode();
  for (const ref of functions) {
    const options = {
      result: ref.result,
      exits: ref.faults ? (['fault'] as const) : [],
      mustEnd: ref.result !== undefined,
    };
    assert.deepEqual(verify(build(ref).statements, options), [], ref.name);
  }
  assert.ok(functions.length > 300);
});

// --- what the verifier finds ---

const i32 = (value: number): Node => ({ kind: 'const', type: 'i32', value });
const i64 = (value: bigint): Node => ({ kind: 'const', type: 'i64', value });
const local = newLocal('i32');
const read: Node = { kind: 'local', type: 'i32', local };
const set: Statement = { kind: 'set', local, value: i32(1) };
const use: Statement = { kind: 'set', local: newLocal('i32'), value: read };
const when = (
  whenTrue: Statement[],
  otherwise: Statement[] = [],
  condition: Node = i32(1),
): Statement => ({ kind: 'if', condition, whenTrue, otherwise, likely: undefined });
const op = (name: string, type: Node['type'], ...args: Node[]): Node => ({
  kind: 'op',
  op: name,
  type,
  args,
});
const keep = (value: Node): Statement => ({ kind: 'set', local: newLocal(value.type), value });
const label = { id: 77 };

const WRONG: readonly (readonly [string, RegExp, Statement[]])[] = [
  ['a local that is never set', /outside the scope/, [use]],
  ['a local set in one arm only', /outside the scope/, [when([set]), use]],
  [
    'a local set in both arms, but in no scope around',
    /outside the scope/,
    [when([set], [set]), use],
  ],
  [
    'a local set in a loop that is over',
    /outside the scope/,
    [{ kind: 'loop', label, body: [set] }, use],
  ],
  [
    'a local read by the statement that sets it',
    /outside the scope/,
    [{ kind: 'set', local, value: read }],
  ],
  [
    'an operand of the wrong type',
    /operand 1 of i32.add is i64/,
    [keep(op('i32.add', 'i32', i32(1), i64(2n)))],
  ],
  ['too few operands', /i32.add with 1/, [keep(op('i32.add', 'i32', i32(1)))]],
  [
    'a result of the wrong type',
    /i64.eqz gives i32, not i64/,
    [keep(op('i64.eqz', 'i64', i64(1n)))],
  ],
  [
    'a local set to another type',
    /a local is i64, not i32/,
    [{ kind: 'set', local, value: i64(1n) }],
  ],
  ['a condition that is i64', /condition is i64/, [when([], [], i64(1n))]],
  [
    'a constant of the wrong kind',
    /no constant of i64/,
    [keep({ kind: 'const', type: 'i64', value: 1 })],
  ],
  ['a constant that does not fit', /does not fit i32/, [keep(i32(2 ** 32))]],
  ['a branch out of nowhere', /label that is not open/, [{ kind: 'branch', label }]],
  [
    'a branch to a block that is closed',
    /label that is not open/,
    [
      { kind: 'block', label, body: [] },
      { kind: 'branch', label },
    ],
  ],
  ['an exit that is not possible', /exit 'jump'/, [{ kind: 'exit', exit: 'jump' }]],
  ['a return of the wrong type', /returns i64, not i32/, [{ kind: 'return', value: i64(1n) }]],
  ['a return without a value', /returns undefined/, [{ kind: 'return', value: undefined }]],
  [
    'a lane that is none',
    /with lanes 4/,
    [
      keep({
        ...op('i32x4.extract_lane', 'i32', {
          kind: 'const',
          type: 'v128',
          value: new Uint8Array(16),
        }),
        lanes: [4],
      } as Node),
    ],
  ],
  [
    'a store as a load',
    /as a load/,
    [keep({ kind: 'load', op: 'i32.store', type: 'i32', address: i32(0), offset: 0 })],
  ],
  [
    'a negative offset',
    /offset -8/,
    [{ kind: 'store', op: 'i32.store', address: i32(0), offset: -8, value: i32(0) }],
  ],
  ['an end without a value', /reaches the end/, [when([{ kind: 'return', value: i32(1) }])]],
  [
    'a block that is left to the end',
    /reaches the end/,
    [{ kind: 'block', label, body: [when([{ kind: 'branch', label }]), { kind: 'trap' }] }],
  ],
];

test('each kind of mistake is found', () => {
  const options = { result: 'i32', exits: ['fault'], mustEnd: true } as const;
  for (const [name, problem, statements] of WRONG) {
    const end: Statement = { kind: 'return', value: i32(0) };
    const isAboutTheEnd = problem.source.includes('reaches');
    const problems = verify(isAboutTheEnd ? statements : [...statements, end], options);
    assert.match(problems.join('\n'), problem, name);
  }
});

test('what is right passes', () => {
  const right: Statement[] = [
    set,
    when([use], [set]),
    {
      kind: 'block',
      label,
      body: [
        {
          kind: 'loop',
          label: { id: 78 },
          body: [when([{ kind: 'branch', label }]), { kind: 'branch', label: { id: 78 } }],
        },
      ],
    },
    use,
    {
      kind: 'switch',
      selector: read,
      cases: [[{ kind: 'return', value: read }], [{ kind: 'exit', exit: 'fault' }]],
      otherwise: [{ kind: 'trap' }],
    },
  ];
  assert.deepEqual(verify(right, { result: 'i32', exits: ['fault'], mustEnd: true }), []);
});

// --- golden texts ---

const GOLDEN = [
  'ADD 01 /r 32rl',
  'MOV 8B /r 64ml',
  'PUSH 50+r 64rl',
  'JE 74 64rl',
  'SHL C1 /4 ib 32rl',
  'DIV F7 /6 32rl',
  'CMPXCHG 0F B1 /r 32ml',
];
const golden = (name: string) =>
  new URL(`golden/${name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}.txt`, import.meta.url);

/** To be updated with MIMIC_UPDATE_GOLDEN=1 when a meaning or the language changes; the diff is for review. */
test('the statements of some handlers are those of their golden texts', () => {
  const all = [...handlers.hot, ...handlers.functions].map((h) => ({
    name: h.name.replace(/^\d+: /, ''),
    statements: h.statements!,
  }));
  for (const wanted of GOLDEN) {
    const found = all.find((h) => h.name === wanted);
    assert.ok(found, wanted);
    const text = `; ${found.name}\n${printStatements(found.statements)}`;
    if (process.env.MIMIC_UPDATE_GOLDEN) writeFileSync(golden(wanted), text);
    assert.equal(text, readFileSync(golden(wanted), 'utf8'), wanted);
  }
});
