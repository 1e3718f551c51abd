// One x87 instruction on one state, as data: what the native processor and the interpreter both
// run, and how their answers are compared. The state is an FSAVE image in 32-bit protected-mode
// format, SDM vol 1 figure 8-9.

export const IMAGE_BYTES = 108;
/** Enough for FSAVE. */
export const MEMORY_BYTES = 112;
const C1 = 0x200;
const SF = 0x40;
const EMPTY = 3;

export interface X87Case {
  readonly name: string;
  /** Opcode byte D8–DF and ModRM byte; memory forms address by RSI. */
  readonly opcode: number;
  readonly modrm: number;
  readonly rflags: number;
  readonly image: Uint8Array;
  readonly memory: Uint8Array;
}

export interface Register {
  readonly significand: bigint;
  readonly signExponent: number;
}

/** The parts of an image, registers in stack order. */
export interface X87State {
  readonly control: number;
  readonly status: number;
  readonly tags: number;
  readonly registers: readonly Register[];
}

export interface X87Outcome {
  readonly state: X87State;
  readonly memory: Uint8Array;
  /** Arithmetic flags only. */
  readonly rflags: number;
}

const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

export function parseImage(image: Uint8Array): X87State {
  const v = view(image);
  return {
    control: v.getUint16(0, true),
    status: v.getUint16(4, true),
    tags: v.getUint16(8, true),
    registers: Array.from({ length: 8 }, (_, i) => ({
      significand: v.getBigUint64(28 + i * 10, true),
      signExponent: v.getUint16(36 + i * 10, true),
    })),
  };
}

export function buildImage(state: X87State): Uint8Array {
  const image = new Uint8Array(IMAGE_BYTES);
  const v = view(image);
  v.setUint16(0, state.control, true);
  v.setUint16(4, state.status, true);
  v.setUint16(8, state.tags, true);
  state.registers.forEach((r, i) => {
    v.setBigUint64(28 + i * 10, r.significand, true);
    v.setUint16(36 + i * 10, r.signExponent, true);
  });
  return image;
}

const TRANSCENDENTAL = new Set([
  'F2XM1', 'FYL2X', 'FYL2XP1', 'FPTAN', 'FPATAN', 'FSIN', 'FCOS', 'FSINCOS',
]); // biome-ignore format: a list
/** The manual says that C1 is cleared; AMD processors leave it. */
const C1_DIFFERS = new Set(['FCOMI', 'FCOMIP', 'FUCOMI', 'FUCOMIP']);
/** The pointers in an environment: AMD processors only keep them for unmasked exceptions. */
const POINTERS = { first: 12, end: 28 };

function onlyEmpty(tags: number): number {
  let result = 0;
  for (let n = 0; n < 8; n++) if (((tags >> (2 * n)) & 3) === EMPTY) result |= EMPTY << (2 * n);
  return result;
}

/** Position on the line of all extended numbers: neighbours differ by one. */
function ordinal(r: Register): bigint {
  const magnitude = (BigInt(r.signExponent & 0x7fff) << 63n) + BigInt.asUintN(63, r.significand);
  return r.signExponent & 0x8000 ? -magnitude : magnitude;
}

const same = (a: Register, b: Register) =>
  a.significand === b.significand && a.signExponent === b.signExponent;

/** Whether two registers are equal, or neighbours where the last place may differ. */
function matches(a: Register, b: Register): boolean {
  const distance = ordinal(a) - ordinal(b);
  return distance >= -1n && distance <= 1n;
}

/** What differs between the processor's answer and ours, in words; undefined when nothing does. */
export function difference(name: string, want: X87Outcome, got: X87Outcome): string | undefined {
  const isClose = TRANSCENDENTAL.has(name);
  const registersMatch = want.state.registers.every((r, i) => {
    const g = got.state.registers[i]!;
    return same(r, g) || (isClose && matches(r, g));
  });
  // What C1 says of an approximation's rounding is not the processors' common ground; after a stack
  // fault it is.
  const isRounding = isClose && !(want.state.status & SF);
  const ignored = C1_DIFFERS.has(name) || isRounding ? C1 : 0;
  const wordsMatch =
    want.state.control === got.state.control &&
    (want.state.status | ignored) === (got.state.status | ignored) &&
    onlyEmpty(want.state.tags) === onlyEmpty(got.state.tags);
  const hasPointers = name === 'FNSAVE' || name === 'FNSTENV';
  const memoryMatches = want.memory.every(
    (byte, i) => byte === got.memory[i] || (hasPointers && i >= POINTERS.first && i < POINTERS.end),
  );
  if (registersMatch && wordsMatch && memoryMatches && want.rflags === got.rflags) return undefined;
  return `want ${describe(want)}\n got ${describe(got)}`;
}

const hex = (n: number | bigint, digits: number) => n.toString(16).padStart(digits, '0');

export function describeState(state: X87State): string {
  const registers = state.registers.map(
    (r) => `${hex(r.signExponent, 4)}:${hex(r.significand, 16)}`,
  );
  const words = [state.control, state.status, onlyEmpty(state.tags)].map((w) => hex(w, 4));
  return `cw sw tw ${words.join(' ')} st ${registers.join(' ')}`;
}
function describe(o: X87Outcome): string {
  const memory = Buffer.from(o.memory.subarray(0, 28)).toString('hex');
  return `${describeState(o.state)} m ${memory} f ${hex(o.rflags, 3)}`;
}
