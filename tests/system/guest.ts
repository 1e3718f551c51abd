// Builds the system test guests and runs them: on QEMU, and on Mimic's processor.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runFirmware } from '../../packages/cpu/testing/firmware.ts';

const FOLDER = fileURLToPath(new URL('./guest/', import.meta.url));
/** Where the guests keep their stacks and the first page tables: above everything else below 1 MiB. */
const PLACES = ['-DBASE=0x10000', '-DSTACK=0x7f000', '-DUSER_STACK=0x802000', '-DTABLES=0x80000'];
const OPTIONS = ['-O1', '-ffreestanding', '-fno-pic', '-fno-pie', '-fno-stack-protector', '-fcf-protection=none',
  '-fno-asynchronous-unwind-tables', '-mgeneral-regs-only', '-mno-red-zone', '-nostdlib', '-Wall']; // biome-ignore format: a list
/** A processor with what ours has and QEMU can give. */
const QEMU_CPU =
  'Nehalem,+smep,+smap,+fsgsbase,+pdpe1gb,+rdtscp,+umip,+xsave,+movbe,+rdrand,+erms,+clflushopt,-vme';
const QEMU_TIMEOUT_MS = 120_000;
const INSTRUCTIONS_MAX = 60_000_000;

export type GuestName = 'paging' | 'segments' | 'gates';

function run(program: string, args: readonly string[]): string {
  const done = spawnSync(program, args, {
    encoding: 'latin1',
    timeout: QEMU_TIMEOUT_MS,
    maxBuffer: 1 << 28,
  });
  if (done.error) throw done.error;
  if (done.stderr && done.status) throw new Error(`${program} failed:\n${done.stderr}`);
  return done.stdout;
}

/** Whether gcc and QEMU are there. */
export function whyNoQemu(): string | undefined {
  for (const program of ['gcc', 'qemu-system-x86_64']) {
    if (spawnSync(program, ['--version']).error) return `there is no ${program}`;
  }
  return undefined;
}

/** Compiles a guest for 32- or 64-bit code, and gives its image to `use` as a file. */
function withImage<T>(name: GuestName, bits: 32 | 64, use: (path: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'mimic-system-'));
  try {
    const elf = join(folder, 'guest.elf');
    const image = join(folder, 'guest.bin');
    const mode = bits === 64 ? ['-m64', '-DWIDE', '-mcmodel=small'] : ['-m32'];
    const sources = ['start.S', 'guest.c', `${name}.c`].map((file) => join(FOLDER, file));
    run('gcc', [
      ...mode,
      ...OPTIONS,
      ...PLACES,
      '-Wl,--build-id=none,-no-pie',
      '-static',
      '-T',
      join(FOLDER, 'guest.ld'),
      '-o',
      elf,
      ...sources,
    ]);
    run('objcopy', ['-O', 'binary', '-j', '.image', '-j', '.reset', elf, image]);
    return use(image);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** All guests: what they are about, and their code size. */
export const GUESTS: readonly { readonly name: GuestName; readonly bits: 32 | 64 }[] = [
  { name: 'paging', bits: 32 },
  { name: 'paging', bits: 64 },
  { name: 'segments', bits: 32 },
  { name: 'segments', bits: 64 },
  { name: 'gates', bits: 32 },
  { name: 'gates', bits: 64 },
];

/** Builds a guest and runs it on QEMU: its image, and the lines that it logged. */
export function runOnQemu(name: GuestName, bits: 32 | 64): { image: Uint8Array; log: string } {
  return withImage(name, bits, (image) => {
    const log = `${image}.log`;
    run('qemu-system-x86_64', [
      '-accel', 'tcg', '-machine', 'pc', '-cpu', QEMU_CPU, '-m', '16', '-nodefaults', '-display', 'none', '-no-reboot',
      '-bios', image, '-debugcon', `file:${log}`, '-device', 'isa-debug-exit,iobase=0xf4,iosize=4',
    ]); // biome-ignore format: a command line
    return { image: readFileSync(image), log: readFileSync(log, 'latin1') };
  });
}

/** What the same image logs on our processor. */
export function runOnMimic(image: Uint8Array): string {
  return runFirmware(image, { instructionsMax: INSTRUCTIONS_MAX }).log;
}

/** What a line of QEMU's log is where QEMU goes by the manual; each rule with the section that it breaks. */
export function asTheManualSays(name: GuestName, bits: 32 | 64, line: string): string {
  if (name === 'paging') {
    // Reserved bits are looked at in present entries only, so RSVD comes with P. SDM vol 3A §4.7.
    return line.replaceAll(/0e\.(\w\w)/g, (event, digits: string) => {
      const code = Number.parseInt(digits, 16);
      return code & 8 ? `0e.${(code | 1).toString(16).padStart(2, '0')}` : event;
    });
  }
  if (name === 'gates') return gateLine(bits, line);
  if (bits === 32) return line;
  const [head = '', ...groups] = line.split(/(?=[:|] )/);
  return head + groups.map((group) => segmentInLongMode(head, group)).join('');
}
/** An INT from both levels for two RPLs; or calls and jumps in turn, two from level 0, two from level 3. */
function gateLine(bits: 32 | 64, line: string): string {
  // The error code has the gate's vector, not its offset. SDM vol 3A §6.13.
  if (line.startsWith('int')) return bits === 64 ? line.replaceAll('.0602', '.0302') : line;
  const [head = '', rest = ''] = line.split(': ');
  const target = head.slice(-2);
  const fixed = rest.split(' ').map((event, n) => {
    const place = ['call 0', 'jump 0', 'call 3', 'jump 3'][n % 4];
    // A call to a conforming segment stays at its level, and CS.RPL tells it. SDM vol 2A, CALL.
    if (target === '9e' && place === 'call 3') return event.replace('--=0200', '--=0203');
    // An absent code segment of the right level raises #NP. SDM vol 2A, JMP.
    const isAbsent = `${target} ${place}` === '1a jump 0' || `${target} ${place}` === '7a jump 3';
    return isAbsent && event === '0d.0200' ? '0b.0200' : event;
  });
  return rest ? `${head}: ${fixed.join(' ')}` : line;
}
/** One RPL of a line: loads of DS, SS and GS, LAR, LSL, VERR, VERW, far jump and far return. */
function segmentInLongMode(head: string, group: string): string {
  const fields = group.split(' ');
  const type = head.slice(0, 2);
  // Of system segments LAR and LSL know those of long mode only. SDM vol 2A, LAR table 3-52, LSL table 3-65.
  if (['01', '03', '04', '05'].includes(type)) {
    fields[4] = '--=55505555';
    fields[5] = '--=55555555';
  }
  // A code segment with both L and D raises #GP before anything else is looked at. SDM vol 2A, JMP; vol 2B, RET.
  if (head.includes(' fe ')) {
    const isBad = (event: string) => event !== '0d' && event !== '0d.0200';
    for (const n of [8, 9]) if (isBad(fields[n] ?? '0d')) fields[n] = '0d.0200';
  }
  return fields.join(' ');
}

/** Lines that differ from what the manual makes of QEMU's, with their numbers. */
export function compareLogs(
  guest: { name: GuestName; bits: 32 | 64 },
  qemu: string,
  ours: string,
): string[] {
  const expected = qemu.split('\n').map((line) => asTheManualSays(guest.name, guest.bits, line));
  const lines = ours.split('\n');
  const differing = expected.flatMap((line, n) =>
    line === lines[n] ? [] : [`line ${n + 1}\n  expected ${line}\n  ours     ${lines[n]}`],
  );
  if (lines.length !== expected.length)
    differing.push(`${lines.length} lines, expected ${expected.length}`);
  return differing;
}

/** Changes with every guest's sources. */
export function sourcesVersion(): string {
  const hash = createHash('sha256');
  for (const file of readdirSync(FOLDER).sort()) hash.update(readFileSync(join(FOLDER, file)));
  return hash.digest('hex').slice(0, 16);
}
