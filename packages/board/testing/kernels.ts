// Small synthetic kernels with valid headers, for tests. Imported by tests only.

export interface LinuxFacts {
  readonly version?: number;
  readonly loadflags?: number;
  readonly xloadflags?: number;
  readonly prefAddress?: bigint;
  readonly initSize?: number;
  readonly initrdAddrMax?: number;
  readonly cmdlineSize?: number;
  readonly setupSects?: number;
  readonly payloadSize?: number;
}

/** A bzImage of boot protocol 2.15 whose payload counts up. */
export function bzImage(facts: LinuxFacts = {}): Uint8Array {
  const setupSects = facts.setupSects ?? 3;
  const payloadSize = facts.payloadSize ?? 0x1000;
  const setupSize = ((setupSects === 0 ? 4 : setupSects) + 1) * 512;
  const bytes = new Uint8Array(setupSize + payloadSize);
  const view = new DataView(bytes.buffer);
  bytes[0x1f1] = setupSects;
  view.setUint32(0x1f4, payloadSize / 16, true);
  view.setUint16(0x1fe, 0xaa55, true);
  // The jump at 0x200 leads over the header.
  bytes[0x200] = 0xeb;
  bytes[0x201] = 0x6a;
  bytes.set(new TextEncoder().encode('HdrS'), 0x202);
  view.setUint16(0x206, facts.version ?? 0x20f, true);
  bytes[0x211] = facts.loadflags ?? 1;
  view.setUint32(0x22c, facts.initrdAddrMax ?? 0x7fff_ffff, true);
  bytes[0x234] = 1;
  view.setUint16(0x236, facts.xloadflags ?? 1, true);
  view.setUint32(0x238, facts.cmdlineSize ?? 2047, true);
  view.setBigUint64(0x258, facts.prefAddress ?? 0x100_0000n, true);
  view.setUint32(0x260, facts.initSize ?? 0x20_0000, true);
  for (let index = 0; index < payloadSize; index++) bytes[setupSize + index] = index & 0xff;
  return bytes;
}

export interface ElfFacts {
  readonly bits?: 32 | 64;
  readonly machine?: number;
  readonly gpa?: number;
  readonly memorySize?: number;
  readonly entry?: number | undefined;
  readonly noteName?: string;
}

/** An ELF kernel with one loadable segment of 16 bytes (0x90) and a PVH note. */
export function pvhElf(facts: ElfFacts = {}): Uint8Array {
  const wide = (facts.bits ?? 64) === 64;
  const bytes = new Uint8Array(0x200);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1]);
  view.setUint16(18, facts.machine ?? (wide ? 62 : 3), true);
  const header = (index: number, values: Record<string, number>): void => {
    const at = 0x40 + index * (wide ? 56 : 32);
    const u64 = (offset: number, value: number): void =>
      view.setBigUint64(at + offset, BigInt(value), true);
    const u32 = (offset: number, value: number): void => view.setUint32(at + offset, value, true);
    u32(0, values.type!);
    if (wide) {
      u64(8, values.offset!);
      u64(24, values.gpa!);
      u64(32, values.fileSize!);
      u64(40, values.memorySize!);
    } else {
      u32(4, values.offset!);
      u32(12, values.gpa!);
      u32(16, values.fileSize!);
      u32(20, values.memorySize!);
    }
  };
  if (wide) {
    view.setBigUint64(32, 0x40n, true);
    view.setUint16(54, 56, true);
    view.setUint16(56, 2, true);
  } else {
    view.setUint32(28, 0x40, true);
    view.setUint16(42, 32, true);
    view.setUint16(44, 2, true);
  }
  const gpa = facts.gpa ?? 0x100_0000;
  const memorySize = facts.memorySize ?? 0x2000;
  header(0, { type: 1, offset: 0x100, gpa, fileSize: 16, memorySize });
  header(1, { type: 4, offset: 0x180, gpa: 0, fileSize: 24, memorySize: 24 });
  bytes.fill(0x90, 0x100, 0x110);
  view.setUint32(0x180, 4, true);
  view.setUint32(0x184, 8, true);
  view.setUint32(0x188, 18, true);
  bytes.set(new TextEncoder().encode(facts.noteName ?? 'Xen'), 0x18c);
  view.setBigUint64(0x190, BigInt(facts.entry ?? 0x100_0100), true);
  return bytes;
}
