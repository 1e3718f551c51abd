// Instructions of the operating system: descriptor tables, control and debug registers, MSRs, time, CPUID, halting,
// caches and TLBs. SDM vol 3A §2.8. Segment registers are in segment.ts, calls into the system in syscall.ts.

import { RFLAGS } from '../lift/flags.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import {
  readControlRegister,
  writeControlRegister,
  writeCr0,
} from '../microcode/control-register.ts';
import { readDebugRegister, writeDebugRegister } from '../microcode/debug-register.ts';
import { ACTIVITY } from '../microcode/exception.ts';
import { VECTOR } from '../microcode/fault.ts';
import { cpuidHost } from '../microcode/host.ts';
import { updateDataTlb, updateMode } from '../microcode/mode.ts';
import { readMsr, timeStamp, writeMsr } from '../microcode/msr.ts';
import { isNonCanonical } from '../microcode/stack.ts';
import { loadLdt, loadTaskRegister } from '../microcode/system-segment.ts';
import { flushNotGlobal, flushPage, flushTlb } from '../microcode/tlb.ts';
import { XSAVE_AVX_BYTES } from '../microcode/x87/save.ts';
import { CR0, CR4 } from '../state/control-bits.ts';
import { GPR, S, SEGMENT } from '../state/layout.ts';
import {
  Cy,
  Dy,
  ENDS,
  Ev,
  Ew,
  form,
  Gd,
  Gq,
  type Instruction,
  instruction,
  M,
  Mb,
  NO64,
  ONLY64,
  Rd,
  Rq,
  unsupported,
} from './instruction.ts';

/** #GP(0) unless at level 0. */
export function requireLevel0(l: Lift): void {
  l.raiseIf(l.get(S.cpl).nez(), VECTOR.gp, 0);
}

/** The 32-bit view of an address or register value outside 64-bit mode. */
function low32(value: Value): Value {
  return value.and(0xffff_ffffn);
}

/** Writes EDX:EAX, upper halves cleared. */
function writeEdxEax(l: Lift, value: Value): void {
  const v = l.let(value);
  l.set(S.gpr, low32(v), GPR.rax);
  l.set(S.gpr, v.shru(32), GPR.rdx);
}

const loadTable = (name: 'LGDT' | 'LIDT', digit: number): Instruction =>
  instruction({
    name,
    manual: 'SDM vol 2A, LGDT/LIDT',
    forms: [form(`0F 01 /${digit}`, M, { sized: true }, ENDS)],
    access: ['none'],
    exceptions: '#UD, #GP(0)',
    lift(l, i, source) {
      requireLevel0(l);
      const linear = l.let(source.linear(i.mode64 ? 10 : 6, 'read'));
      const limit = l.let(l.load(2, linear));
      const whole = i.mode64 ? l.load(8, linear.add(2n)) : l.load(4, linear.add(2n)).u64();
      const base = l.let(!i.mode64 && i.bits === 16 ? whole.and(0xff_ffffn) : whole);
      if (i.mode64) l.raiseIf(isNonCanonical(base), VECTOR.gp, 0);
      l.set(name === 'LGDT' ? S.gdtrBase : S.idtrBase, base);
      l.set(name === 'LGDT' ? S.gdtrLimit : S.idtrLimit, limit);
    },
  });

/** With CR4.UMIP only level 0 may see where the system's tables are. */
export function checkUmip(l: Lift): void {
  const isHidden = l.get(S.cr4).i32().and(CR4.umip).nez().and(l.get(S.cpl).nez());
  l.raiseIf(isHidden, VECTOR.gp, 0);
}

const storeTable = (name: 'SGDT' | 'SIDT', digit: number): Instruction =>
  instruction({
    name,
    manual: `SDM vol 2B, ${name}`,
    forms: [form(`0F 01 /${digit}`, M)],
    access: ['none'],
    exceptions: '#UD, #GP(0)',
    lift(l, i, target) {
      checkUmip(l);
      const base = l.get(name === 'SGDT' ? S.gdtrBase : S.idtrBase);
      const limit = l.get(name === 'SGDT' ? S.gdtrLimit : S.idtrLimit);
      const linear = l.let(target.linear(i.mode64 ? 10 : 6, 'write'));
      if (i.mode64) l.store(8, linear.add(2n), base);
      else l.store(4, linear.add(2n), base.i32());
      l.store(2, linear, limit);
    },
  });

/** LDTR and TR exist only where there are descriptors. */
const loadSystemSegment = (name: 'LLDT' | 'LTR', digit: number): Instruction =>
  instruction({
    name,
    manual: `SDM vol 2A, ${name}`,
    forms: [form(`0F 00 /${digit}`, Ew, ENDS)],
    access: ['r'],
    exceptions: '#UD, #GP, #NP',
    lift(l, _, src) {
      l.raiseIf(l.get(S.legacyMode), VECTOR.ud);
      requireLevel0(l);
      l.run(name === 'LLDT' ? loadLdt : loadTaskRegister, src.read());
    },
  });

const storeSystemSegment = (name: 'SLDT' | 'STR', digit: number, segment: number): Instruction =>
  instruction({
    name,
    manual: `SDM vol 2B, ${name}`,
    forms: [form(`0F 00 /${digit}`, Ev)],
    access: ['w'],
    exceptions: '#UD, #GP(0)',
    lift(l, _, dst) {
      l.raiseIf(l.get(S.legacyMode), VECTOR.ud);
      checkUmip(l);
      const selector = l.get(S.segSelector, segment);
      if (dst.isMemory) l.store(2, dst.linear(2, 'write'), selector);
      else dst.write(dst.bits === 64 ? selector.u64() : selector);
    },
  });

export const SMSW: Instruction = instruction({
  name: 'SMSW',
  manual: 'SDM vol 2B, SMSW',
  forms: [form('0F 01 /4', Ev)],
  access: ['w'],
  exceptions: '#GP(0)',
  lift(l, _, dst) {
    checkUmip(l);
    const cr0 = l.get(S.cr0);
    if (dst.isMemory) l.store(2, dst.linear(2, 'write'), cr0.i32());
    else dst.write(dst.bits === 64 ? cr0 : cr0.i32());
  },
});

/** PE, MP, EM and TS only; PE cannot be cleared. */
export const LMSW: Instruction = instruction({
  name: 'LMSW',
  manual: 'SDM vol 2A, LMSW',
  forms: [form('0F 01 /6', Ew, ENDS)],
  access: ['r'],
  exceptions: '#GP(0)',
  lift(l, _, src) {
    requireLevel0(l);
    const low = l.let(src.read().and(CR0.pe | CR0.mp | CR0.em | CR0.ts));
    const kept = l.get(S.cr0).and(~BigInt(CR0.mp | CR0.em | CR0.ts));
    l.run(writeCr0, kept.or(low.u64()));
  },
});

export const CLTS: Instruction = instruction({
  name: 'CLTS',
  manual: 'SDM vol 2A, CLTS',
  forms: [form('0F 06', ENDS)],
  exceptions: '#GP(0)',
  lift(l) {
    requireLevel0(l);
    l.set(S.cr0, l.get(S.cr0).and(~BigInt(CR0.ts)));
    l.run(updateMode);
  },
});

/** Control and debug registers move as a whole: 64 bits in 64-bit mode, else 32; ModRM.mod does not matter. */
export const MOV_FROM_CONTROL: Instruction = instruction({
  name: 'MOV',
  manual: 'SDM vol 2B, MOV (control registers)',
  forms: [form('0F 20 /r', Rq, Cy, ONLY64), form('0F 20 /r', Rd, Cy, NO64)],
  access: ['w', 'r'],
  exceptions: '#UD, #GP(0)',
  lift(l, _, dst, src) {
    const value = l.call(readControlRegister, src.number());
    dst.write(dst.bits === 64 ? value : value.i32());
  },
});

export const MOV_TO_CONTROL: Instruction = instruction({
  name: 'MOV',
  manual: 'SDM vol 2B, MOV (control registers)',
  forms: [form('0F 22 /r', Cy, Rq, ONLY64, ENDS), form('0F 22 /r', Cy, Rd, NO64, ENDS)],
  access: ['w', 'r'],
  exceptions: '#UD, #GP(0)',
  lift(l, _, dst, src) {
    l.run(writeControlRegister, dst.number(), src.read().u64());
  },
});

export const MOV_FROM_DEBUG: Instruction = instruction({
  name: 'MOV',
  manual: 'SDM vol 2B, MOV (debug registers)',
  forms: [form('0F 21 /r', Rq, Dy, ONLY64), form('0F 21 /r', Rd, Dy, NO64)],
  access: ['w', 'r'],
  exceptions: '#UD, #GP(0), #DB',
  lift(l, _, dst, src) {
    const value = l.call(readDebugRegister, src.number());
    dst.write(dst.bits === 64 ? value : value.i32());
  },
});

export const MOV_TO_DEBUG: Instruction = instruction({
  name: 'MOV',
  manual: 'SDM vol 2B, MOV (debug registers)',
  forms: [form('0F 23 /r', Dy, Rq, ONLY64, ENDS), form('0F 23 /r', Dy, Rd, NO64, ENDS)],
  access: ['w', 'r'],
  exceptions: '#UD, #GP(0), #DB',
  lift(l, _, dst, src) {
    l.run(writeDebugRegister, dst.number(), src.read().u64());
  },
});

export const INVLPG: Instruction = instruction({
  name: 'INVLPG',
  manual: 'SDM vol 2A, INVLPG',
  forms: [form('0F 01 /7', Mb, ENDS)],
  access: ['none'],
  exceptions: '#GP(0)',
  lift(l, i, address) {
    requireLevel0(l);
    // No check of limits or canonical form; an address that no page can have has no translation.
    const linear = l.let(address.effective().add(i.segmentBase()));
    l.run(flushPage, i.mode64 ? linear : low32(linear));
  },
});

/** Types 0–3: one address, one PCID, everything, everything but global pages. */
export const INVPCID: Instruction = instruction({
  name: 'INVPCID',
  manual: 'SDM vol 2A, INVPCID',
  forms: [form('66 0F 38 82 /r', Gq, M, ONLY64, ENDS), form('66 0F 38 82 /r', Gd, M, NO64, ENDS)],
  access: ['r', 'none'],
  feature: 'INVPCID',
  exceptions: '#UD, #GP(0)',
  lift(l, _, kind, descriptor) {
    // Virtual-8086 mode runs at level 3.
    requireLevel0(l);
    const type = l.let(kind.read().u64());
    const linear = l.let(descriptor.linear(16, 'read'));
    const pcid = l.let(l.load(8, linear));
    const address = l.let(l.load(8, linear.add(8n)));
    l.raiseIf(type.gtu(3n).or(pcid.shru(12).nez()), VECTOR.gp, 0);
    const hasPcids = l.get(S.cr4).i32().and(CR4.pcide).nez();
    const namesPcid = type.leu(1n).and(pcid.nez()).and(hasPcids.eqz());
    l.raiseIf(namesPcid.or(type.eqz().and(isNonCanonical(address))), VECTOR.gp, 0);
    // Translations are not told apart by PCID: dropping those of all is always enough.
    l.if(
      type.eq(2n),
      () => l.run(flushTlb),
      () => l.run(flushNotGlobal),
    );
  },
});

/** Caches are coherent with memory, so flushing them shows nowhere. */
const cacheFlush = (name: string, encoding: string, manual: string): Instruction =>
  instruction({
    name,
    manual,
    forms: [form(encoding)],
    exceptions: '#GP(0)',
    lift: requireLevel0,
  });

export const HLT: Instruction = instruction({
  name: 'HLT',
  manual: 'SDM vol 2A, HLT',
  forms: [form('F4', ENDS)],
  exceptions: '#GP(0)',
  lift(l) {
    requireLevel0(l);
    l.set(S.activity, ACTIVITY.halted);
  },
});

/** CPUID does not offer MONITOR: a store to the monitored line wakes nobody. Deviation: MWAIT waits for interrupts only. */
export const MONITOR: Instruction = instruction({
  name: 'MONITOR',
  manual: 'SDM vol 2B, MONITOR',
  forms: [form('0F 01 C8')],
  exceptions: '#UD, #GP(0)',
  lift(l, i) {
    l.raiseIf(l.get(S.cpl).nez(), VECTOR.ud);
    const ecx = l.get(S.gpr, GPR.rcx);
    l.raiseIf(ecx.and(0xffff_ffffn).nez(), VECTOR.gp, 0);
    const offset = l.get(S.gpr, GPR.rax);
    const address = l.let(i.segmentBase().add(i.mode64 ? offset : low32(offset)));
    l.load(1, address);
    l.set(S.monitorAddress, address);
  },
});

/** ECX bit 0: an interrupt ends the wait although IF is clear. */
export const MWAIT: Instruction = instruction({
  name: 'MWAIT',
  manual: 'SDM vol 2B, MWAIT',
  forms: [form('0F 01 C9', ENDS)],
  exceptions: '#UD, #GP(0)',
  lift(l) {
    l.raiseIf(l.get(S.cpl).nez(), VECTOR.ud);
    const ecx = l.let(l.get(S.gpr, GPR.rcx).i32());
    l.raiseIf(ecx.and(~1).nez(), VECTOR.gp, 0);
    l.set(S.mwaitWakes, ecx.and(1));
    l.set(S.activity, ACTIVITY.halted);
  },
});

export const RDMSR: Instruction = instruction({
  name: 'RDMSR',
  manual: 'SDM vol 2B, RDMSR',
  forms: [form('0F 32', ENDS)],
  exceptions: '#GP(0)',
  lift(l) {
    requireLevel0(l);
    writeEdxEax(l, l.call(readMsr, l.get(S.gpr, GPR.rcx).i32()));
  },
});

export const WRMSR: Instruction = instruction({
  name: 'WRMSR',
  manual: 'SDM vol 2D, WRMSR',
  forms: [form('0F 30', ENDS)],
  exceptions: '#GP(0)',
  lift(l) {
    requireLevel0(l);
    const value = l
      .get(S.gpr, GPR.rdx)
      .shl(32)
      .or(low32(l.get(S.gpr, GPR.rax)));
    l.run(writeMsr, l.get(S.gpr, GPR.rcx).i32(), value);
  },
});

/** CR4.TSD keeps the clock from programs. */
function checkTsd(l: Lift): void {
  const isForbidden = l.get(S.cr4).i32().and(CR4.tsd).nez().and(l.get(S.cpl).nez());
  l.raiseIf(isForbidden, VECTOR.gp, 0);
}

export const RDTSC: Instruction = instruction({
  name: 'RDTSC',
  manual: 'SDM vol 2B, RDTSC',
  forms: [form('0F 31')],
  exceptions: '#GP(0)',
  lift(l) {
    checkTsd(l);
    writeEdxEax(l, l.call(timeStamp));
  },
});

export const RDTSCP: Instruction = instruction({
  name: 'RDTSCP',
  manual: 'SDM vol 2B, RDTSCP',
  forms: [form('0F 01 F9')],
  feature: 'RDTSCP',
  exceptions: '#GP(0)',
  lift(l) {
    checkTsd(l);
    writeEdxEax(l, l.call(timeStamp));
    l.set(S.gpr, low32(l.get(S.msrTscAux)), GPR.rcx);
  },
});

/** CPUID leaf 0xA offers no counters. */
export const RDPMC: Instruction = instruction({
  name: 'RDPMC',
  manual: 'SDM vol 2B, RDPMC',
  forms: [form('0F 33')],
  exceptions: '#GP(0)',
  lift: (l) => l.raise(VECTOR.gp, 0),
});

/** OSXSAVE: bit of leaf 1's ECX that follows CR4. */
const CPUID_OSXSAVE = 1n << 27n;

export const CPUID: Instruction = instruction({
  name: 'CPUID',
  manual: 'SDM vol 2A, CPUID',
  forms: [form('0F A2', ENDS)],
  lift(l) {
    const leaf = l.let(l.get(S.gpr, GPR.rax).i32());
    const subleaf = l.let(l.get(S.gpr, GPR.rcx).i32());
    l.run(cpuidHost, leaf, subleaf);
    const isOn = leaf.eq(1).and(l.get(S.cr4).i32().and(CR4.osxsave).nez());
    const dynamic = l.select(isOn, l.i64(CPUID_OSXSAVE), l.i64(0));
    // Size of the XSAVE area for what XCR0 enables. SDM vol 1 §13.2.
    const isArea = leaf.eq(0xd).and(subleaf.ltu(2)).and(l.get(S.xcr0).bit(2));
    const ebx = l.select(isArea, l.i64(XSAVE_AVX_BYTES), low32(l.get(S.result, 1)));
    l.set(S.gpr, low32(l.get(S.result, 0)), GPR.rax);
    l.set(S.gpr, ebx, GPR.rbx);
    l.set(S.gpr, low32(l.get(S.result, 2)).or(dynamic), GPR.rcx);
    l.set(S.gpr, low32(l.get(S.result, 3)), GPR.rdx);
  },
});

/** CLI and STI need IOPL >= CPL; virtual-8086 mode runs at level 3. */
function requireIopl(l: Lift): Value {
  const flags = l.get(S.rflags);
  l.raiseIf(l.get(S.cpl).gtu(flags.and(RFLAGS.iopl).shru(12)), VECTOR.gp, 0);
  return flags;
}

export const CLI: Instruction = instruction({
  name: 'CLI',
  manual: 'SDM vol 2A, CLI',
  forms: [form('FA')],
  flags: { writes: 'I' },
  exceptions: '#GP(0)',
  lift(l) {
    const flags = requireIopl(l);
    l.set(S.rflags, flags.and(~RFLAGS.if));
  },
});

/** Interrupts stay out for one more instruction when they were off. */
export const STI: Instruction = instruction({
  name: 'STI',
  manual: 'SDM vol 2B, STI',
  forms: [form('FB', ENDS, { shadows: true })],
  flags: { writes: 'I' },
  exceptions: '#GP(0)',
  lift(l) {
    const flags = requireIopl(l);
    l.if(flags.and(RFLAGS.if).eqz(), () => l.set(S.interruptShadow, 1));
    l.set(S.rflags, flags.or(RFLAGS.if));
  },
});

const accessControl = (name: 'CLAC' | 'STAC', encoding: string): Instruction =>
  instruction({
    name,
    manual: name === 'CLAC' ? 'SDM vol 2A, CLAC' : 'SDM vol 2B, STAC',
    forms: [form(encoding)],
    feature: 'SMAP',
    exceptions: '#UD',
    lift(l) {
      l.raiseIf(l.get(S.cpl).nez(), VECTOR.ud);
      const flags = l.get(S.rflags);
      l.set(S.rflags, name === 'STAC' ? flags.or(RFLAGS.ac) : flags.and(~RFLAGS.ac));
      l.run(updateDataTlb);
    },
  });

export const SWAPGS: Instruction = instruction({
  name: 'SWAPGS',
  manual: 'SDM vol 2B, SWAPGS',
  forms: [form('0F 01 F8', ONLY64)],
  exceptions: '#UD, #GP(0)',
  lift(l) {
    requireLevel0(l);
    const base = l.get(S.segBase, SEGMENT.gs);
    l.set(S.segBase, l.get(S.msrKernelGsBase), SEGMENT.gs);
    l.set(S.msrKernelGsBase, base);
  },
});

export const INSTRUCTIONS_SYSTEM: readonly Instruction[] = [
  loadTable('LGDT', 2), loadTable('LIDT', 3), storeTable('SGDT', 0), storeTable('SIDT', 1),
  loadSystemSegment('LLDT', 2), loadSystemSegment('LTR', 3), storeSystemSegment('SLDT', 0, SEGMENT.ldtr),
  storeSystemSegment('STR', 1, SEGMENT.tr), SMSW, LMSW, CLTS,
  MOV_FROM_CONTROL, MOV_TO_CONTROL, MOV_FROM_DEBUG, MOV_TO_DEBUG, INVLPG, INVPCID,
  cacheFlush('INVD', '0F 08', 'SDM vol 2A, INVD'), cacheFlush('WBINVD', '0F 09', 'SDM vol 2D, WBINVD'),
  HLT, MONITOR, MWAIT, RDMSR, WRMSR, RDTSC, RDTSCP, RDPMC, CPUID, CLI, STI,
  accessControl('CLAC', 'NP 0F 01 CA'), accessControl('STAC', 'NP 0F 01 CB'), SWAPGS,
  unsupported('RSM', 'SDM vol 2B, RSM', form('0F AA')),
]; // biome-ignore format: a list
