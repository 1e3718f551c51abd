// Who may use I/O ports, and the accesses themselves. SDM vol 1 §19.5 (IOPL and the I/O permission bitmap).

import { RFLAGS } from '../lift/flags.ts';
import { type FunctionRef, fn } from '../lift/function.ts';
import { S, SEGMENT } from '../state/layout.ts';
import { checkIoBreakpoint } from './debug-register.ts';
import { isLongMode } from './descriptor.ts';
import { seesTime } from './exact.ts';
import { VECTOR } from './fault.ts';
import { portRead, portWrite } from './host.ts';
import { BREAKPOINTS, LEGACY_MODE } from './mode.ts';
import { isTss32 } from './stack-frame.ts';

/** Where the 32- and 64-bit TSS hold the bitmap's offset. */
const IO_MAP_BASE = 102;

/** Raises #GP(0) unless the program may use these ports. */
export const checkPort: FunctionRef = fn('checkPort', {
  params: { port: 'i32', bytes: 'i32' },
  faults: true,
  build(l, { port, bytes }) {
    seesTime(l);
    const legacy = l.get(S.legacyMode);
    const iopl = l.get(S.rflags).and(RFLAGS.iopl).shru(12);
    // Real mode runs at level 0; virtual-8086 mode always asks the bitmap.
    const isFree = l.get(S.cpl).leu(iopl).and(legacy.ne(LEGACY_MODE.virtual8086));
    l.if(isFree, () => l.return());
    l.raiseIf(isTss32(l).eqz(), VECTOR.gp, 0);
    const limit = l.get(S.segLimit, SEGMENT.tr);
    l.raiseIf(limit.ltu(IO_MAP_BASE + 1), VECTOR.gp, 0);
    const tss = l.get(S.segBase, SEGMENT.tr);
    const mask = l.let(l.select(isLongMode(l), l.i64(-1n), l.i64(0xffff_ffffn)));
    const map = l.let(l.load(2, tss.add(IO_MAP_BASE).and(mask), { system: true }));
    const first = l.let(map.add(port.shru(3)));
    // Two bytes are read always, so both must be within the limit.
    l.raiseIf(first.add(1).gtu(limit), VECTOR.gp, 0);
    const rights = l.let(l.load(2, tss.add(first.u64()).and(mask), { system: true }));
    const wanted = l.i32(1).shl(bytes).sub(1).shl(port.and(7));
    l.raiseIf(rights.and(wanted).nez(), VECTOR.gp, 0);
  },
});

/** Reads a port that `checkPort` allowed. */
export const readPort: FunctionRef = fn('readPort', {
  params: { port: 'i32', bytes: 'i32' },
  result: 'i32',
  build(l, { port, bytes }) {
    const value = l.call(portRead, port, bytes);
    l.unlikely(l.get(S.breakpoints).and(BREAKPOINTS.io), () =>
      l.run(checkIoBreakpoint, port, bytes),
    );
    l.return(value);
  },
});

export const writePort: FunctionRef = fn('writePort', {
  params: { port: 'i32', bytes: 'i32', value: 'i32' },
  build(l, { port, bytes, value }) {
    l.run(portWrite, port, bytes, value);
    l.unlikely(l.get(S.breakpoints).and(BREAKPOINTS.io), () =>
      l.run(checkIoBreakpoint, port, bytes),
    );
  },
});
