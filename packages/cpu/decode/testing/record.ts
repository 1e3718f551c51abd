// Records objdump's lines for recorded.txt: node decode/testing/record.ts [ELF files] > decode/testing/recorded.txt

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CodeBits, isNoInstruction, objdump } from './objdump.ts';
import { codeOf, pseudoRandomBytes } from './samples.ts';

const BYTES = 1 << 20;
const RANDOM_BYTES = 1 << 16;

/** What a line shows that another may not: its instruction with the kinds of its operands, and its way of addressing. */
function kindsOf(text: string): string[] {
  const general = generalised(text);
  const address = /\S*\[.*\]/.exec(general)?.[0];
  const instruction = general.replace(/\[.*\]/, '[m]');
  return address ? [instruction, address] : [instruction];
}

/** Numbers and registers of a kind made equal. */
function generalised(text: string): string {
  return text
    .replace(/0x[0-9a-f]+|\b[0-9a-f]{3,}\b/g, 'N')
    .replace(/\br(\d+)([dwb]?)\b/g, 'rN$2')
    .replace(/\b(r[a-ds][xip]|r[bs]p)\b/g, 'r64')
    .replace(/\b(e[a-ds][xip]|e[bs]p)\b/g, 'r32')
    .replace(/\b([a-d]x|[sd]i|[bs]p)\b/g, 'r16')
    .replace(/\b([a-d][lh])\b/g, 'r8')
    .replace(/\b(x?mm)\d+/g, '$1')
    .replace(/\*[1248]/, '*s')
    .replace(/[+-]N/, '+N')
    .replace(/st\(\d\)/g, 'st(i)')
    .replace(/\b[c-gs]s\b/g, 'seg');
}

const directory = mkdtempSync(join(tmpdir(), 'record-'));
const file = join(directory, 'code.bin');
const lines: string[] = [];
for (const bits of [64, 32, 16] as const satisfies readonly CodeBits[]) {
  const seen = new Set<string>();
  const sources = [
    ...process.argv.slice(2).map((elf) => codeOf(elf, BYTES)),
    pseudoRandomBytes(RANDOM_BYTES, 0x1234_5678),
  ];
  for (const code of sources) {
    writeFileSync(file, bits === 16 ? code.subarray(0, RANDOM_BYTES) : code);
    for (const line of objdump(file, bits) ?? []) {
      const kinds = kindsOf(line.text);
      if (isNoInstruction(line) || kinds.every((kind) => seen.has(kind))) continue;
      for (const kind of kinds) seen.add(kind);
      lines.push(
        `${bits} ${line.rip.toString(16)} ${Buffer.from(line.bytes).toString('hex')} ${line.text}`,
      );
    }
  }
}
rmSync(directory, { recursive: true });
process.stdout.write(
  `# Made by packages/cpu/decode/testing/record.ts from GNU binutils' objdump.\n${lines.join('\n')}\n`,
);
