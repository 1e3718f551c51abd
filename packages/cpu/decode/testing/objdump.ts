// What GNU objdump says of code, in our spelling. The differences that are only taste stand in this file, nowhere else.

import { execFileSync } from 'node:child_process';

const OUTPUT_BYTES_MAX = 1 << 28;
const MACHINES = { 16: 'i8086', 32: 'i386', 64: 'i386:x86-64' } as const;

export type CodeBits = 16 | 32 | 64;

export interface ObjdumpLine {
  readonly rip: bigint;
  readonly bytes: Uint8Array;
  /** As objdump prints it, without comments. */
  readonly text: string;
}

/** Runs objdump over raw code; undefined where there is no objdump. Branches are as Intel's processors take them. */
export function objdump(file: string, bits: CodeBits): ObjdumpLine[] | undefined {
  const args = [
    '-D',
    '-w',
    '-z',
    '-b',
    'binary',
    '-m',
    MACHINES[bits],
    '-M',
    'intel,intel64',
    file,
  ];
  let output: string;
  try {
    output = execFileSync('objdump', args, { maxBuffer: OUTPUT_BYTES_MAX, encoding: 'utf8' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  return output.split('\n').flatMap((line) => {
    const match = /^\s*([0-9a-f]+):\t((?:[0-9a-f]{2} )+)\s*\t(.*)$/.exec(line);
    if (!match) return [];
    const bytes = Uint8Array.from(match[2]!.trim().split(' '), (byte) => Number.parseInt(byte, 16));
    const text = match[3]!
      .replace(/\s*#.*$/, '')
      .replace(/\s+/g, ' ')
      .trim();
    return [{ rip: BigInt(`0x${match[1]}`), bytes, text }];
  });
}

/** Prefixes that objdump names although they mean nothing there, and that we leave out. */
const PREFIX =
  '(?:data16|data32|addr16|addr32|[c-gs]s|rex(?:\\.[WRXB]+)?|repz|repnz|bnd|notrack|xacquire|xrelease)';
const PREFIXES = new RegExp(`^(lock )?(?:${PREFIX} )*(lock )?(?:${PREFIX} )*`);
const STRING_PREFIXES = new RegExp(
  `^(?:(?!rep)${PREFIX} )*(rep |repz |repnz )?(?:(?!rep)${PREFIX} )*`,
);
const ONLY_PREFIXES = new RegExp(`^(?:(?:${PREFIX}|lock) ?)+$`);
const STRING = /^(movs|cmps|stos|lods|scas|ins|outs) .*?(BYTE|WORD|DWORD|QWORD) PTR.*$/;
const SUFFIX: Readonly<Record<string, string>> = { BYTE: 'b', WORD: 'w', DWORD: 'd', QWORD: 'q' };

/** Hints that are NOPs to us: MPX, CLDEMOTE, 3DNow! and later prefetches. */
const HINT = /\b(bnd(ldx|stx|mov|mk|c[lun])|cldemote|prefetch(it[01])?) /;

/**
 * Lines that say nothing about one instruction: bytes that objdump does not know, prefixes on their own, and WAIT that
 * it makes part of the x87 instruction behind it.
 */
export function isNoInstruction(line: ObjdumpLine): boolean {
  if (line.text.includes('(bad)') || line.text.startsWith('.byte')) return true;
  if (HINT.test(line.text)) return true;
  return ONLY_PREFIXES.test(line.text) || (line.bytes.includes(0x9b) && line.text !== 'fwait');
}

/** Rewritings of objdump's text, in order. */
const SPELLING: readonly (readonly [RegExp, string])[] = [
  [/^movabs\b/, 'mov'],
  // A segment register takes 16 bits of whatever register.
  [/^(mov (?:[c-gs]s|\?)),[er]([a-ds][xpi]|[bs]p)$/, '$1,$2'],
  [/^(mov (?:[c-gs]s|\?),r\d+)d?$/, '$1w'],
  // So does PINSRW.
  [/^(v?pinsrw (?:\w+,)?\w+),e(\w+)/, '$1,$2'],
  [/^(v?pinsrw (?:\w+,)?\w+),(r\d+)d/, '$1,$2w'],
  // VEX.W means nothing to moves of sign masks, nor VEX.L to scalars.
  [/^(v(?:movmskp[sd]|pmovmskb)) r([a-ds][xip]|[bs]p),/, '$1 e$2,'],
  [/^(v(?:movmskp[sd]|pmovmskb) r\d+),/, '$1d,'],
  [/^(vmovs[sd]) ymm(\d+)/, '$1 xmm$2'],
  [/^fwait$/, 'wait'],
  [/^xlat .*$/, 'xlat'],
  [/^(sgdt|sidt|lgdt|lidt)[dw]\b/, '$1'],
  [/\(\d+ only\)/, ''],
  // Index scales and displacements that change nothing, an index that is not there.
  [/([[+])[er]iz(\*\d)?\+?/, '$1'],
  [/\+\]/, ']'],
  [/\+-/, '-'],
  [/\*1\b/, ''],
  [/\+0x0\]/, ']'],
  // An address without registers is in brackets, and DS goes without saying.
  [/\bds:(0x[0-9a-f]+)/, '[$1]'],
  [/\b([c-gs]s):(0x[0-9a-f]+)/, '$1:[$2]'],
  [/\bds:\[/, '['],
  [/,/g, ', '],
  [/\bst\((\d)\)/g, 'st$1'],
  [/\bst\b/g, 'st0'],
];

/** Operands of these have no size in our text. */
const UNSIZED =
  /^(les|lds|lss|lfs|lgs|bound|[ls][gi]dt|f?xsave\w*|f?xrstor\w*|fldenv|fnstenv|fnsave|frstor|clflush\w*|clwb|invlpg|invpcid)\b/;

const PREFIX_BYTES = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]);

/** Opcode and ModRM byte of an instruction without an escape byte. */
function opcodeOf(line: ObjdumpLine, bits: CodeBits): { opcode: number; reg: number } {
  const isPrefix = (byte: number) =>
    PREFIX_BYTES.has(byte) || (bits === 64 && (byte & 0xf0) === 0x40);
  const at = line.bytes.findIndex((byte) => !isPrefix(byte));
  return { opcode: line.bytes[at]!, reg: ((line.bytes[at + 1] ?? 0) >> 3) & 7 };
}

/** A displacement of rip, or of an index that is not there, is printed as the address that it means. */
function absolute(text: string, line: ObjdumpLine, bits: CodeBits): string {
  const next = line.rip + BigInt(line.bytes.length);
  return text.replace(
    /\[([er]ip|[er]iz\*\d)([+-])0x([0-9a-f]+)\]/,
    (_, base: string, sign: string, digits: string) => {
      const offset = BigInt(`0x${digits}`) * (sign === '-' ? -1n : 1n);
      const width = bits === 64 && base[0] !== 'e' ? 64 : 32;
      const address = base.endsWith('ip') ? next + offset : offset;
      return `[0x${BigInt.asUintN(base.endsWith('ip') ? 64 : width, address).toString(16)}]`;
    },
  );
}

const NEAR_TARGET = /^((?:j|call|loop)[^d ]* )(0x[0-9a-f]+)$/;
const wrapTarget = (_: string, name: string, target: string) =>
  `${name}0x${(BigInt(target) & 0xffffn).toString(16)}`;

/** objdump's text in our spelling. */
export function inOurSpelling(line: ObjdumpLine, bits: CodeBits): string {
  const bare = line.text.replace(STRING_PREFIXES, '');
  const string = STRING.exec(bare);
  if (string) {
    const repeat = STRING_PREFIXES.exec(line.text)![1] ?? '';
    const ours =
      /^(cmps|scas|.*nz)/.test(bare) || repeat !== 'repz ' ? repeat.replace('z ', 'e ') : 'rep ';
    return `${ours}${string[1]}${SUFFIX[string[2]!]}`;
  }
  const { opcode, reg } = opcodeOf(line, bits);
  const isLocked = PREFIXES.exec(line.text)!.slice(1).some(Boolean);
  let text = `${isLocked ? 'lock ' : ''}${line.text.replace(PREFIXES, '')}`;
  // 90 with an operand-size prefix is a NOP like any other.
  if (opcode === 0x90) text = text.replace(/^xchg ([er]?ax),\1$/, 'nop');
  if (opcode === 0xff && (reg === 3 || reg === 5)) text = text.replace(/[A-Z]+ PTR/, 'far');
  // Targets wrap with IP.
  if (bits === 16 && !line.text.startsWith('data32')) text = text.replace(NEAR_TARGET, wrapTarget);
  // objdump names the halves that are multiplied.
  text = text.replace(
    /^(v?pclmul)[lh]q[lh]qdq (.*)$/,
    (_, name: string, operands: string) =>
      `${name}qdq ${operands},0x${line.bytes.at(-1)!.toString(16)}`,
  );
  text = absolute(text, line, bits);
  for (const [theirs, ours] of SPELLING) text = text.replace(theirs, ours);
  text = text.replace(/\b([A-Z]+) PTR/, (_, size: string) => `${size.toLowerCase()} ptr`);
  return UNSIZED.test(text) ? text.replace(/\w+ ptr /, '') : text;
}

/** Names that say their size or not, and a DS that is written or not: both texts are compared without. */
export function withoutTaste(text: string): string {
  return text
    .replace(
      /^(pushf|popf|pusha|popa|iret|sysret|sysexit|retf?|push|pop|enter|leave|call|jmp)[dqw]\b/,
      '$1',
    )
    .replace(/^(v?lddqu \w+, )\w+ ptr /, '$1')
    .replace(/\bds:\[/, '[');
}
