// A function body in WebAssembly's text format, one instruction a line. Core specification 2.0 §6.5; for people only, so
// it knows what CodeWriter writes and no more.

import type { FunctionBody } from '../module.ts';
import { type WasmOp, wasmOp, wasmOpNames } from '../opcodes.ts';

/** Control flow and locals, which the table of operations leaves out. */
const PLAIN: Readonly<Record<number, string>> = {
  0: 'unreachable', 2: 'block', 3: 'loop', 4: 'if', 5: 'else', 11: 'end', 12: 'br', 13: 'br_if',
  14: 'br_table', 15: 'return', 16: 'call', 17: 'call_indirect', 19: 'return_call_indirect', 26: 'drop',
  27: 'select', 32: 'local.get', 33: 'local.set', 34: 'local.tee', 35: 'global.get', 65: 'i32.const', 66: 'i64.const',
}; // biome-ignore format: by opcode
const PREFIX_FIRST = 0xfc;

export interface TextNames {
  readonly local: (index: number) => string;
  readonly function: (index: number) => string;
}

export function functionText({ code }: FunctionBody, names: TextNames): string {
  return new TextReader(code, names).lines().join('\n');
}

class TextReader {
  readonly #code: Uint8Array;
  readonly #names: TextNames;
  readonly #operations: ReadonlyMap<string, readonly [string, WasmOp]>;
  #at = 0;

  constructor(code: Uint8Array, names: TextNames) {
    this.#code = code;
    this.#names = names;
    this.#operations = new Map(
      wasmOpNames().map((name) => [wasmOp(name).code.join(), [name, wasmOp(name)]]),
    );
  }

  lines(): string[] {
    const lines: string[] = [];
    let depth = 0;
    while (this.#at < this.#code.length) {
      const text = this.#instruction();
      if (text === 'end' || text === 'else') depth--;
      lines.push('  '.repeat(Math.max(depth, 0)) + text);
      if (/^(?:block|loop|if|else)/.test(text)) depth++;
    }
    return lines;
  }

  #unsigned(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.#code[this.#at++]!;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }
  #signed(): bigint {
    let value = 0n;
    for (let shift = 0n; ; ) {
      const byte = this.#code[this.#at++]!;
      value |= BigInt(byte & 0x7f) << shift;
      shift += 7n;
      if (byte < 0x80) return BigInt.asIntN(Number(shift), value);
    }
  }

  #instruction(): string {
    const start = this.#at;
    const opcode = this.#code[this.#at++]!;
    const plain = PLAIN[opcode];
    if (plain) return this.#plain(plain);
    if (opcode >= PREFIX_FIRST) this.#unsigned();
    const found = this.#operations.get(this.#code.slice(start, this.#at).join());
    if (!found) return `byte ${opcode}`;
    const [name, { immediate }] = found;
    if (immediate.startsWith('memory')) {
      this.#unsigned();
      const offset = this.#unsigned();
      return `${name}${offset ? ` offset=${offset}` : ''}${this.#lane(immediate)}`;
    }
    if (immediate === 'zero') this.#at++;
    if (immediate === 'v128' || immediate === 'shuffle') this.#at += 16;
    return name + this.#lane(immediate);
  }
  #lane(immediate: string): string {
    return immediate.endsWith('lane') ? ` ${this.#unsigned()}` : '';
  }

  #plain(name: string): string {
    if (name === 'block' || name === 'loop' || name === 'if') {
      const type = this.#code[this.#at++];
      const result = { 127: ' (result i32)', 126: ' (result i64)' }[type!] ?? '';
      return name + result;
    }
    if (name.startsWith('local.')) return `${name} ${this.#names.local(this.#unsigned())}`;
    if (name.startsWith('global.')) return `${name} ${this.#unsigned()}`;
    if (name.endsWith('.const')) return `${name} ${this.#signed()}`;
    if (name === 'call') return `call ${this.#names.function(this.#unsigned())}`;
    if (name === 'br' || name === 'br_if') return `${name} ${this.#unsigned()}`;
    if (name.endsWith('call_indirect')) {
      this.#at += 2;
      return name;
    }
    if (name !== 'br_table') return name;
    const targets = Array.from({ length: this.#unsigned() + 1 }, () => this.#unsigned());
    return `${name} ${targets.join(' ')}`;
  }
}
