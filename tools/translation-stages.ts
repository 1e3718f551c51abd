// npm run translation-page: writes docs/design/translation-stages.md, which shows what becomes of one guest loop at every
// stage of the translator. translation-stages.test.ts fails when the page in the tree is another one.
// `--compile` compiles the region instead, for Node's --print-wasm-code; translator.md says how.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { disassemble } from '../packages/cpu/decode/disassembler.ts';
import { engine, WASM_PAGES_MAX } from '../packages/cpu/interpreter/engine.ts';
import type { FunctionRef } from '../packages/cpu/lift/function.ts';
import type { Local, Statement } from '../packages/cpu/lift/ir.ts';
import { newLocal } from '../packages/cpu/lift/lift.ts';
import { printStatements } from '../packages/cpu/lift/print.ts';
import { DECODING_MODE } from '../packages/cpu/state/decoding-mode.ts';
import { S } from '../packages/cpu/state/layout.ts';
import { planMemory, RAM_BASE } from '../packages/cpu/state/memory-map.ts';
import { REGISTER_NAMES } from '../packages/cpu/state/register-names.ts';
import { translatedAccess } from '../packages/cpu/translator/access.ts';
import { type CompiledPiece, compileRegion } from '../packages/cpu/translator/compile.ts';
import { translatorOptions } from '../packages/cpu/translator/in-thread.ts';
import { InstructionSource } from '../packages/cpu/translator/instructions.ts';
import { buildRegion, type Region } from '../packages/cpu/translator/region.ts';
import { FLAG_FIELDS, RegisterLocals } from '../packages/cpu/translator/registers.ts';
import { Translator } from '../packages/cpu/translator/translator.ts';
import { functionText } from '../packages/cpu/wasm/testing/text.ts';
import { ROOT } from './steps.ts';

export const PAGE: string = join(ROOT, 'docs', 'design', 'translation-stages.md');

const RAM_BYTES = 4 << 20;
const CODE = 0x10_0000;
/** Sums doublewords: add eax, [rsi]; add rsi, 4; dec ecx; jnz back; hlt. */
const LOOP = [0x03, 0x06, 0x48, 0x83, 0xc6, 4, 0xff, 0xc9, 0x75, 0xf6, 0xf4];
const INSTRUCTIONS = 4;
/** Those that are shown by themselves: the first and the last. */
const SHOWN_ALONE = [0, 3] as const;

function machine(): WebAssembly.Memory {
  const initial = planMemory({ ramBytes: RAM_BYTES, vcpuCount: 1 }).wasmPages;
  const memory = new WebAssembly.Memory({ initial, maximum: 65536, shared: true });
  new Uint8Array(memory.buffer).set(LOOP, RAM_BASE + CODE);
  return memory;
}

/** FlagNote's locals. */
const NOTE_NAMES = ['flagsKind', 'flagsLeft', 'flagsRight'] as const;

/** Names of a region's locals, as the page has them. */
function namesOf(
  region: Pick<Region, 'registers' | 'ripBase' | 'next' | 'tlb'>,
): Map<Local, string> {
  const names = new Map([
    [region.ripBase, 'ripBase'],
    [region.next, 'next'],
    [region.tlb, 'tlb'],
  ]);
  for (const { local, offset } of region.registers.all) {
    const register = REGISTER_NAMES[(offset - S.gpr.offset) / S.gpr.stride];
    const flag = FLAG_FIELDS.find((field) => field.offset === offset)?.name;
    names.set(local, flag ?? register ?? `state${offset}`);
  }
  return names;
}

/** Each instruction as its lift makes it with operands known, and with registers in locals. */
function lifted(memory: WebAssembly.Memory): { before: string; after: string } {
  const [ripBase, next, tlb] = [newLocal('i64'), newLocal('i64'), newLocal('i32')];
  const registers = new RegisterLocals(ripBase);
  const seen: (readonly Statement[])[] = [];
  const locals = { registers, ripBase, next, access: translatedAccess(tlb) };
  const after: (readonly Statement[])[] = [];
  const titles = disassemble(Uint8Array.from(LOOP), BigInt(CODE), 64, INSTRUCTIONS);
  for (const { gva } of titles) {
    // A source lifts one instruction of each shape.
    const source = new InstructionSource(memory, engine().handlers, undefined);
    source.onLift = (statements) => seen.push(statements);
    after.push(source.read(CODE, Number(gva) - CODE, DECODING_MODE.code64, locals)!.statements!);
  }
  const names = namesOf({ registers, ripBase, next, tlb });
  const print = (lists: readonly (readonly Statement[])[]) =>
    SHOWN_ALONE.map((n) => `; ${titles[n]!.text}\n${printStatements(lists[n]!, names)}`).join('');
  return { before: print(seen), after: print(after) };
}

/** The region's one block behind the flag sinker and behind the passes, and its WebAssembly. */
function compiled(memory: WebAssembly.Memory): {
  sunk: string;
  optimised: string;
  text: string;
} {
  const { handlers } = engine();
  const source = new InstructionSource(memory, handlers, undefined);
  const region = buildRegion({
    source,
    gpa: CODE,
    mode: DECODING_MODE.code64,
    lengthMax: INSTRUCTIONS,
    hasRun: () => true,
    isEntered: () => false,
    isShared: false,
    moves: false,
  })!;
  const callees: FunctionRef[] = [];
  let piece: CompiledPiece | undefined;
  const body = compileRegion(region, {
    functionIndex(callee) {
      const known = callees.indexOf(callee);
      return known < 0 ? callees.push(callee) - 1 : known;
    },
    handlerType: 0,
    tableIndex: (handler) => handlers.tableIndex(handler),
    recordOf: () => 0,
    baseGlobal: 0,
    validAt: 0,
    counts: false,
    observe: (made) => {
      piece ??= made;
    },
  });
  const names = namesOf(region);
  for (const [n, local] of piece!.note.entries()) names.set(local, NOTE_NAMES[n]!);
  const numbers = new Map([...names].map(([local, name]) => [piece!.indexOf(local), `$${name}`]));
  const text = functionText(body, {
    local: (index) => (index === 0 ? '$cpu' : (numbers.get(index) ?? `$${index}`)),
    function: (index) => `$${callees[index]!.name}`,
  });
  const stubs = piece!.stubs.map(
    ({ stores }) => `; on the way out of a fault\n${printStatements(stores, names)}`,
  );
  return {
    sunk: printStatements(piece!.sunk, names) + stubs.join(''),
    optimised: printStatements(piece!.optimised, names),
    text: loopOf(text),
  };
}

/** The loop of a function's text, without what is around it. */
function loopOf(text: string): string {
  const lines = text.split('\n');
  const start = lines.findIndex((line) => line.trim() === 'loop');
  const indent = lines[start]!.length - 'loop'.length;
  const end = lines.findIndex((line, n) => n > start && line === `${' '.repeat(indent)}end`);
  return lines
    .slice(start, end + 1)
    .map((line) => line.slice(indent))
    .join('\n');
}

const fenced = (text: string) => `\`\`\`\n${text.trimEnd()}\n\`\`\``;

/** The page's text. */
export function translationPage(): string {
  const memory = machine();
  const { before, after } = lifted(memory);
  const { sunk, optimised, text } = compiled(memory);
  const assembly = disassemble(Uint8Array.from(LOOP), BigInt(CODE), 64, INSTRUCTIONS)
    .map(({ gva, text: line }) => `${gva.toString(16)}  ${line}`)
    .join('\n');
  return `<!-- Generated by tools/translation-stages.ts: npm run translation-page. -->
# One loop through the translator

[translator.md](translator.md) explains the stages. \`$n\` are locals of one piece, numbered as they appear; \`gpr[n]\`
and the like are fields of the vCPU's state, and names without \`$\` the region's locals.

## 1. Guest code

${fenced(assembly)}

## 2. Lifted, operands known

What the instruction table says, with the record's contents folded in; of the first and the last instruction. The TLB
is looked at inline.

${fenced(before)}

## 3. Registers in locals

${fenced(after)}

## 4. Flags sunk

The whole loop. What ADD sets is overwritten unread and gone. The jump back notes what the flags come from because the
load at the top may fault, and then they are to be seen; an event that waits ends the loop there.

${fenced(sunk)}

## 5. Behind the passes

${fenced(optimised)}

## 6. WebAssembly

The loop without the region's entry and exits.

${fenced(text)}
`;
}

/** The region as the translator's thread makes it. */
function compile(): void {
  const translator = new Translator({
    ...translatorOptions(machine()),
    wasmPagesMax: WASM_PAGES_MAX,
    counts: false,
    lengthMax: INSTRUCTIONS,
  });
  const made = translator.translate([{ gpa: CODE, mode: DECODING_MODE.code64, version: 0 }]);
  process.stdout.write(`${made[0]?.regions[0]?.name}\n`);
}

if (import.meta.main) {
  if (process.argv.includes('--compile')) compile();
  else {
    writeFileSync(PAGE, translationPage());
    process.stdout.write(`Wrote ${PAGE}\n`);
  }
}
