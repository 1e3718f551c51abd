export { ArrayMemory } from './array-memory.ts';
export {
  type Emulator,
  emulatorUnderTest,
  type Guest,
  type GuestEnd,
  type GuestOptions,
  startGuest,
} from './guest.ts';
export {
  type CheckResult,
  checkFiles,
  collectChecks,
  type GuestCheck,
  type Programs,
  runChecksScript,
  runOnHost,
} from './guest-checks.ts';
