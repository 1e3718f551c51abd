import { fn, type FunctionRef } from '../lift/function.ts';
import { S } from '../state/layout.ts';
export const deliverFault: FunctionRef = fn('deliverFault', { params: {}, faults: false, build: (l) => { l.set(S.activity, 3); } });
export const deliverInterrupt: FunctionRef = fn('deliverInterrupt', { params: { vector: 'i32' }, faults: true, build: () => {} });
export const deliverNmi: FunctionRef = fn('deliverNmi', { params: {}, faults: true, build: () => {} });
export const deliverDebugTrap: FunctionRef = fn('deliverDebugTrap', { params: {}, faults: true, build: () => {} });
export const checkInstructionBreakpoint: FunctionRef = fn('checkInstructionBreakpoint', { params: { linear: 'i64' }, faults: true, build: () => {} });
