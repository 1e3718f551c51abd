// Bits of the control registers and of IA32_EFER. SDM vol 3A §2.2.1, §2.5.

export const CR0 = {
  pe: 1, mp: 2, em: 4, ts: 8, et: 0x10, ne: 0x20, wp: 1 << 16, am: 1 << 18, nw: 1 << 29, cd: 1 << 30, pg: 1 << 31,
} as const; // biome-ignore format: a register on one line

export const CR4 = {
  vme: 1, pvi: 2, tsd: 4, de: 8, pse: 0x10, pae: 0x20, mce: 0x40, pge: 0x80, pce: 0x100, osfxsr: 0x200,
  osxmmexcpt: 0x400, umip: 0x800, fsgsbase: 1 << 16, pcide: 1 << 17, osxsave: 1 << 18, smep: 1 << 20, smap: 1 << 21,
} as const; // biome-ignore format: a register on two lines

export const EFER = { sce: 1, lme: 1 << 8, lma: 1 << 10, nxe: 1 << 11 } as const;
