// Functions that the system side of the processor needs of its host; all of them off the hot paths.
// A host function that is declared to fault records the fault in `S.fault` and `S.faultCode` itself.

import { type FunctionRef, imported } from '../lift/function.ts';

/** Port I/O of 1, 2 or 4 bytes; values are zero-extended. */
export const portRead: FunctionRef = imported('portRead', { port: 'i32', bytes: 'i32' }, 'i32');
export const portWrite: FunctionRef = imported('portWrite', {
  port: 'i32',
  bytes: 'i32',
  value: 'i32',
});

/** Ticks of 1 ns since the machine was powered on, without IA32_TSC_ADJUST. A double: a 64-bit integer would be an object of
 *  its own on the way here. */
export const readTsc: FunctionRef = imported('readTsc', {}, 'f64');

/** Stores EAX, EBX, ECX, EDX of a CPUID leaf to `S.result` 0–3. */
export const cpuidHost: FunctionRef = imported('cpuid', { leaf: 'i32', subleaf: 'i32' });

/**
 * Local APIC: IA32_APIC_BASE (0x1b), IA32_TSC_DEADLINE (0x6e0) and the x2APIC registers (0x800–0x8ff).
 * #GP(0) for what does not exist or is not valid.
 */
export const apicReadMsr: FunctionRef = imported('apicReadMsr', { msr: 'i32' }, 'i64', {
  faults: true,
});
export const apicWriteMsr: FunctionRef = imported(
  'apicWriteMsr',
  { msr: 'i32', value: 'i64' },
  undefined,
  { faults: true },
);
/** The task-priority register, 0–15, whatever the APIC's mode (CR8). */
export const apicReadTpr: FunctionRef = imported('apicReadTpr', {}, 'i32');
export const apicWriteTpr: FunctionRef = imported('apicWriteTpr', { priority: 'i32' });

/** The guest moved its time-stamp counter: deadlines that are told in it lie elsewhere. */
export const tscChanged: FunctionRef = imported('tscChanged', {});
