// One x87 instruction on one state, as text-free data: what the native processor and the lifted meanings both run.
// The state is an FSAVE image in 32-bit protected-mode format, SDM vol 1 figure 8-9.

export const IMAGE_BYTES = 108;
/** Enough for FSAVE. */
export const MEMORY_BYTES = 112;

export interface X87Case {
  /** Opcode byte D8–DF and ModRM byte; memory forms have mod 0 and are given their address by whoever runs them. */
  readonly opcode: number;
  readonly modrm: number;
  readonly rflags: number;
  readonly image: Uint8Array;
  readonly memory: Uint8Array;
}

export interface X87Result {
  readonly image: Uint8Array;
  readonly memory: Uint8Array;
  readonly rflags: number;
}

const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** The parts of an image, registers in stack order. */
export interface X87State {
  control: number;
  status: number;
  tags: number;
  readonly registers: { significand: bigint; signExponent: number }[];
}

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

/** For messages: everything that differs is visible. */
export function describe(state: X87State, memory: Uint8Array): string {
  const hex = (n: number | bigint, digits: number) => n.toString(16).padStart(digits, '0');
  const registers = state.registers
    .slice(0, 3)
    .map((r) => `${hex(r.signExponent, 4)}:${hex(r.significand, 16)}`);
  const bytes = Buffer.from(memory.slice(0, 10)).reverse().toString('hex');
  return `cw ${hex(state.control, 4)} sw ${hex(state.status, 4)} tw ${hex(state.tags, 4)} ${registers.join(' ')} m ${bytes}`;
}
