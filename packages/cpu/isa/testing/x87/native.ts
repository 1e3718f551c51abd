// Runs x87 cases on the host's own x87 unit: a small C program that loads the state, executes the
// instruction from a writable code page and saves the state. Only where the host is x86-64 and has
// a C compiler.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IMAGE_BYTES, MEMORY_BYTES, parseImage, type X87Case, type X87Outcome } from './case.ts';

const SOURCE = `
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
struct in { unsigned char opcode, modrm, pad[2]; unsigned rflags; unsigned char image[108], memory[112]; };
struct out { unsigned char image[108], memory[112]; unsigned rflags; };
int main(void) {
  unsigned char *code = mmap(0, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct in in; struct out out;
  /* frstor [rdi]; push rdx; popfq; <instruction on [rsi]>; pushfq; pop rax; fnsave [rcx]; ret */
  const unsigned char text[] = { 0xdd, 0x27, 0x52, 0x9d, 0, 0, 0x9c, 0x58, 0xdd, 0x31, 0xc3 };
  memcpy(code, text, sizeof text);
  while (fread(&in, sizeof in, 1, stdin) == 1) {
    code[4] = in.opcode;
    code[5] = in.modrm;
    memcpy(out.memory, in.memory, 112);
    unsigned long (*run)(void *, void *, unsigned long, void *) = (void *)code;
    out.rflags = run(in.image, out.memory, in.rflags, out.image) & 0x8d5;
    fwrite(&out, sizeof out, 1, stdout);
  }
  return 0;
}
`;

const IN_BYTES = 8 + IMAGE_BYTES + MEMORY_BYTES;
const OUT_BYTES = IMAGE_BYTES + MEMORY_BYTES + 4;

/** Whether this host can be asked. */
export function hasNativeX87(): boolean {
  return process.arch === 'x64' && spawnSync('cc', ['--version']).status === 0;
}

/** The processor's answers, in order. */
export function runNative(cases: readonly X87Case[]): X87Outcome[] {
  const folder = mkdtempSync(join(tmpdir(), 'x87-'));
  try {
    const program = join(folder, 'run');
    writeFileSync(`${program}.c`, SOURCE);
    execFileSync('cc', ['-O1', '-o', program, `${program}.c`]);
    const input = Buffer.alloc(cases.length * IN_BYTES);
    cases.forEach((c, n) => {
      const at = n * IN_BYTES;
      input[at] = c.opcode;
      input[at + 1] = c.modrm;
      input.writeUInt32LE(c.rflags, at + 4);
      input.set(c.image, at + 8);
      input.set(c.memory, at + 8 + IMAGE_BYTES);
    });
    const maxBuffer = cases.length * OUT_BYTES + 4096;
    const output = execFileSync(program, { input, maxBuffer });
    return cases.map((_, n) => {
      const at = n * OUT_BYTES;
      return {
        state: parseImage(output.subarray(at, at + IMAGE_BYTES)),
        memory: output.subarray(at + IMAGE_BYTES, at + IMAGE_BYTES + MEMORY_BYTES),
        rflags: output.readUInt32LE(at + OUT_BYTES - 4),
      };
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}
