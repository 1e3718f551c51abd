// The monitor's language: one line in, text out. Commands are a table; whoever adds one adds a row.
// Numbers are decimal or 0x…; addresses may name registers: $rsp+8.

import { MachineError } from './errors.ts';
import { formatJitReport } from './jit-report.ts';
import type { Machine } from './machine.ts';
import { mapAddressSpace, type Walk, walkPages } from './page-walk.ts';

/** `x` prints at most this many units, `disasm` at most this many instructions. */
const UNIT_COUNT_MAX = 4096;
const INSTRUCTION_COUNT_DEFAULT = 10;
const RANGE_COUNT_MAX = 200;

interface MonitorCommand {
  readonly usage: string;
  readonly summary: string;
  run(machine: Machine, args: readonly string[]): Promise<string>;
}

const COMMANDS: Readonly<Record<string, MonitorCommand>> = {
  help: {
    usage: 'help',
    summary: 'this list',
    run: async () => helpText(),
  },
  info: {
    usage: 'info registers|cpus|devices|pic|mem|jit|hash',
    summary:
      'the processor, all of them, the parts, the interrupt controllers, what is mapped, what was ' +
      'translated, SHA-256 of it all',
    run: (machine, args) => information(machine, args[0]),
  },
  x: {
    usage: 'x[/COUNT FORMAT SIZE] ADDR',
    summary: 'virtual memory; formats x d u c i, sizes b h w g: x/16xb $rsp',
    run: (machine, args) => examine(machine, args, 'virtual'),
  },
  xp: {
    usage: 'xp[/COUNT FORMAT SIZE] ADDR',
    summary: 'the same of physical memory',
    run: (machine, args) => examine(machine, args, 'physical'),
  },
  'page-walk': {
    usage: 'page-walk ADDR',
    summary: 'every page table entry on the way to an address',
    run: async (machine, args) =>
      formatWalk(await walkPages(machine, await address(machine, args))),
  },
  disasm: {
    usage: 'disasm [ADDR] [COUNT]',
    summary: 'instructions, by default from the next one to run',
    run: async (machine, [at = '$rip', count]) =>
      disassembly(
        machine,
        await address(machine, [at]),
        Number(count ?? INSTRUCTION_COUNT_DEFAULT),
      ),
  },
  cpu: {
    usage: 'cpu NUMBER',
    summary: 'which processor the other commands show; at first 0',
    run: async (machine, [index]) => {
      await machine.selectProcessor(Number(index ?? Number.NaN));
      return `processor ${index}`;
    },
  },
  pause: {
    usage: 'pause',
    summary: 'hold the guest',
    run: async (machine) => {
      await machine.pause();
      return `paused at ${hex((await machine.readRegisters(['rip'])).rip ?? 0n, 16)}`;
    },
  },
  continue: {
    usage: 'continue',
    summary: 'let a paused guest run on',
    run: (machine) => machine.resume().then(() => 'running'),
  },
  reset: {
    usage: 'reset',
    summary: 'push the reset button',
    run: (machine) => machine.reset().then(() => 'booting again'),
  },
  powerbutton: {
    usage: 'powerbutton',
    summary: 'push the power button: the guest shuts down, if it listens to ACPI',
    run: async (machine) =>
      (await machine.pressPowerButton()) ? 'pressed' : 'the guest does not listen to the button',
  },
  nmi: {
    usage: 'nmi',
    summary: 'send a non-maskable interrupt to all processors',
    run: (machine) => machine.nmi().then(() => 'sent'),
  },
  quit: {
    usage: 'quit',
    summary: 'pull the plug: end the machine at once',
    run: (machine) => machine.stop().then(() => 'ended'),
  },
};

/** Never throws for what was typed wrong or what the guest did: it fails with a `MachineError` for people to read. */
export async function runMonitorCommand(machine: Machine, line: string): Promise<string> {
  const words = line.trim().split(/\s+/);
  // 'x/16xb' is the command x with its format.
  const [name = '', format] = words[0]?.split(/(?=\/)/) ?? [];
  const args = format === undefined ? words.slice(1) : [format, ...words.slice(1)];
  if (name === '') return '';
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) {
    throw new MachineError('BAD_COMMAND', `there is no command "${name}"`, {
      hint: '"help" lists them',
    });
  }
  return await command.run(machine, args);
}

function helpText(): string {
  const rows = Object.values(COMMANDS);
  const width = Math.max(...rows.map(({ usage }) => usage.length));
  return rows.map(({ usage, summary }) => `${usage.padEnd(width)}  ${summary}`).join('\n');
}

async function information(machine: Machine, topic: string | undefined): Promise<string> {
  switch (topic) {
    case 'registers':
      return formatRegisters(await machine.readRegisters());
    case 'cpus':
      return (await machine.processors())
        .map((cpu) => `${cpu.index}  rip ${hex(cpu.rip, 16)}  ${cpu.instructionCount} instructions`)
        .join('\n');
    case 'devices':
      return formatParts(await machine.parts());
    case 'pic': {
      const controllers = (await machine.parts()).filter(({ name }) => /pic/i.test(name));
      return formatParts(controllers);
    }
    case 'mem':
      return await memoryMap(machine);
    case 'jit':
      return formatJitReport(await machine.jit());
    case 'hash': {
      const { sha256, count } = await machine.stateHash();
      return `${sha256}  behind ${count} instructions`;
    }
    default:
      throw new MachineError('BAD_COMMAND', `info about what? ${COMMANDS.info?.usage}`);
  }
}

const LINE_LENGTH = 98;
/** Bits 0 to 11 of RFLAGS that have a name, from the top. SDM vol 1 §3.4.3. */
const FLAG_NAMES: readonly [bit: number, name: string][] = [
  [11, 'OF'],
  [10, 'DF'],
  [9, 'IF'],
  [8, 'TF'],
  [7, 'SF'],
  [6, 'ZF'],
  [4, 'AF'],
  [2, 'PF'],
  [0, 'CF'],
];

/** All registers: as many in a line as fit; one with hidden parts ('cs.base') has a line of its own. */
export function formatRegisters(registers: Record<string, bigint>): string {
  const lines: string[] = [];
  let line = '';
  const endLine = () => {
    if (line !== '') lines.push(line.trimEnd());
    line = '';
  };
  const owners = new Set(
    Object.keys(registers).flatMap((name) =>
      name.includes('.') ? [name.split('.')[0] ?? ''] : [],
    ),
  );
  for (const [name, value] of Object.entries(registers)) {
    if (name.includes('.') || owners.has(name)) continue;
    const text = `${name.padEnd(6)} ${value.toString(16).padStart(digitsOf(name), '0')}`;
    if (line.length + text.length > LINE_LENGTH || /^(cr0|dr0|cpl|xmm0|fcw|st0)$/.test(name))
      endLine();
    line += `${text}  `;
    if (name === 'rflags') line += `${flagText(value)}  `;
  }
  endLine();
  for (const owner of owners) lines.push(formatWhole(owner, registers));
  return lines.join('\n');
}

function digitsOf(name: string): number {
  if (/^xmm/.test(name)) return 32;
  if (/^ymm/.test(name)) return 64;
  if (/^st\d/.test(name)) return 20;
  return /^(f[cst]w|cpl)$/.test(name) ? 4 : /^mxcsr$/.test(name) ? 8 : 16;
}

function flagText(rflags: bigint): string {
  const set = FLAG_NAMES.filter(([bit]) => ((rflags >> BigInt(bit)) & 1n) !== 0n);
  return `[${set.map(([, name]) => name).join(' ')}]`;
}

/** A segment or descriptor table register: 'cs     0010 base 0000000000000000 limit ffffffff attributes 00a09b00'. */
function formatWhole(owner: string, registers: Record<string, bigint>): string {
  const selector = registers[owner];
  const parts = ['base', 'limit', 'attributes'].flatMap((part) => {
    const value = registers[`${owner}.${part}`];
    return value === undefined
      ? []
      : [`${part} ${value.toString(16).padStart(part === 'base' ? 16 : 8, '0')}`];
  });
  const shown = selector === undefined ? '    ' : selector.toString(16).padStart(4, '0');
  return `${owner.padEnd(6)} ${shown} ${parts.join(' ')}`;
}

function formatParts(parts: Awaited<ReturnType<Machine['parts']>>): string {
  if (parts.length === 0) return 'none';
  return parts
    .map(({ name, where, state }) => {
      const fields = Object.entries(state).map(([key, value]) => `  ${key}: ${brief(value)}`);
      return [`${name}  ${where}`, ...fields].join('\n');
    })
    .join('\n');
}

/** A value in at most a line: numbers in hexadecimal, long arrays cut. */
function brief(value: unknown): string {
  const text = JSON.stringify(value, (_key, inner: unknown) => {
    if (ArrayBuffer.isView(inner)) return `${inner.byteLength} bytes`;
    if (typeof inner === 'bigint') return hex(inner);
    if (typeof inner === 'number' && Number.isInteger(inner) && inner > 9)
      return hex(BigInt(inner));
    return inner;
  });
  const line = (text ?? 'undefined').replaceAll('"', '');
  return line.length > 90 ? `${line.slice(0, 87)}...` : line;
}

async function memoryMap(machine: Machine): Promise<string> {
  const lines = [`RAM: ${machine.memoryBytes / 2 ** 20} MiB`];
  const ranges = await mapAddressSpace(machine);
  for (const { gva, sizeBytes, flags } of ranges.slice(0, RANGE_COUNT_MAX)) {
    lines.push(
      `${hex(gva, 16)}-${hex(gva + sizeBytes - 1n, 16)} ${flags} ${sizeBytes / 1024n} KiB`,
    );
  }
  if (ranges.length > RANGE_COUNT_MAX)
    lines.push(`… ${ranges.length - RANGE_COUNT_MAX} more ranges`);
  return lines.join('\n');
}

interface Format {
  readonly count: number;
  readonly letter: string;
  readonly unitBytes: number;
}

function parseFormat(text: string): Format {
  const match = /^\/(\d*)([xduci]?)([bhwg]?)$/.exec(text);
  const count = Number(match?.[1] || 1);
  if (match === null || count > UNIT_COUNT_MAX) {
    throw new MachineError('BAD_COMMAND', `"${text}" is not a format`, {
      hint: 'a count, then x d u c or i, then b h w or g: /16xb',
    });
  }
  const letter = match[2] || 'x';
  const sizes: Record<string, number> = { b: 1, h: 2, w: 4, g: 8 };
  return { count, letter, unitBytes: sizes[match[3] ?? ''] ?? (letter === 'c' ? 1 : 4) };
}

async function examine(
  machine: Machine,
  args: readonly string[],
  space: 'virtual' | 'physical',
): Promise<string> {
  const [format, where] = args[0]?.startsWith('/') ? [args[0], args.slice(1)] : ['/', args];
  const { count, letter, unitBytes } = parseFormat(format);
  const start = await address(machine, where);
  if (letter === 'i' && space === 'virtual') return await disassembly(machine, start, count);
  const lengthBytes = count * unitBytes;
  const bytes =
    space === 'virtual'
      ? await machine.readVirtualMemory(start, lengthBytes)
      : await machine.readMemory(Number(start), lengthBytes);
  return dump(start, bytes, { letter, unitBytes });
}

function dump(
  start: bigint,
  bytes: Uint8Array,
  { letter, unitBytes }: Omit<Format, 'count'>,
): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const units: string[] = [];
    for (let unit = at; unit < Math.min(at + 16, bytes.length); unit += unitBytes) {
      units.push(formatUnit(bytes.subarray(unit, unit + unitBytes), letter));
    }
    lines.push(`${hex(BigInt.asUintN(64, start + BigInt(at)), 16)}: ${units.join(' ')}`);
  }
  return lines.join('\n');
}

function formatUnit(bytes: Uint8Array, letter: string): string {
  const value = bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  if (letter === 'c')
    return value >= 32n && value < 127n ? String.fromCharCode(Number(value)) : '.';
  if (letter === 'u') return String(value);
  if (letter === 'd') return String(BigInt.asIntN(8 * bytes.length, value));
  return `0x${value.toString(16).padStart(2 * bytes.length, '0')}`;
}

async function disassembly(machine: Machine, start: bigint, count: number): Promise<string> {
  if (!(count >= 1 && count <= UNIT_COUNT_MAX)) {
    throw new MachineError('BAD_COMMAND', 'the count is not a number of instructions');
  }
  const rows = await machine.disassemble(start, count);
  return rows
    .map(({ gva, bytes, text }) => {
      const code = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
      return `${hex(gva, 16)}  ${code.padEnd(30)}  ${text}`;
    })
    .join('\n');
}

function formatWalk({ mode, steps, gpa, pageBytes }: Walk): string {
  const rows = steps.map(
    ({ table, entryAt, entry, flags }) =>
      `${table.padEnd(5)} entry at ${hex(BigInt(entryAt), 12)} = ${hex(entry, 16)}  ${flags}`,
  );
  const size = pageBytes === undefined ? '' : ` (${pageBytes / 1024} KiB page)`;
  const result = gpa === undefined ? 'not mapped' : `physical ${hex(BigInt(gpa), 12)}${size}`;
  return [`mode: ${mode}`, ...rows, result].join('\n');
}

/** The value of a sum such as '$rsp+0x10-8'. */
async function address(machine: Machine, words: readonly string[]): Promise<bigint> {
  const text = words.join('');
  const terms = text.match(/[+-]?[^+-]+/g);
  if (terms === null || terms.join('') !== text) throw badAddress(text);
  let sum = 0n;
  for (const term of terms) {
    const word = term.replace(/^[+-]/, '');
    const value = word.startsWith('$') ? await machine.readRegister(word.slice(1)) : number(word);
    sum += term.startsWith('-') ? -value : value;
  }
  return BigInt.asUintN(64, sum);
}

function number(word: string): bigint {
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(word)) throw badAddress(word);
  return BigInt(word);
}

function badAddress(text: string): MachineError {
  return new MachineError('BAD_COMMAND', `"${text}" is not an address`, {
    hint: 'write a number (0x…) or a register ($rsp), or a sum of them',
  });
}

function hex(value: bigint, digits = 1): string {
  return `0x${value.toString(16).padStart(digits, '0')}`;
}
