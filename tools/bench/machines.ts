// The command lines that boot the benchmark guest under each emulator, with its first serial port on standard output.

import { join } from 'node:path';
import { ROOT } from '../steps.ts';
import type { Architecture, BenchGuest } from './guest.ts';

export const RAM_MIB = 256;
const KERNEL_COMMAND_LINE =
  'console=ttyS0 tsc=reliable mitigations=off random.trust_cpu=on nowatchdog panic=-1';

export const MACHINES = ['mimic', 'qemu'] as const;
export type MachineName = (typeof MACHINES)[number];

export interface MachineOptions {
  readonly guest: BenchGuest;
  readonly architecture: Architecture;
  /** Names with commas between, or 'all'. */
  readonly items: string;
  /** How often each item runs in one boot. */
  readonly repeat: number;
  readonly cpuCount: number;
  /** Mimic's engine; undefined: its default. */
  readonly accel: string | undefined;
  /** Further options of `mimic run`. */
  readonly mimicOptions: readonly string[];
}

export function machineCommand(name: MachineName, options: MachineOptions): string[] {
  const append = `${KERNEL_COMMAND_LINE} benchsel=${options.items} benchrepeat=${options.repeat}`;
  return name === 'mimic' ? mimicCommand(options, append) : qemuCommand(options, append);
}

function mimicCommand(options: MachineOptions, append: string): string[] {
  const { guest, cpuCount, accel, mimicOptions } = options;
  return [
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    ...[join(ROOT, 'packages/cli/main.ts'), 'run'],
    ...['--kernel', guest.kernel, '--initrd', guest.initrd, '--append', append],
    ...['--memory', `${RAM_MIB}M`],
    ...(cpuCount > 1 ? ['--cpus', String(cpuCount)] : []),
    ...(accel === undefined ? [] : ['--accel', accel]),
    ...mimicOptions,
  ];
}

/** TCG with QEMU's defaults: one host thread for each processor. */
function qemuCommand(options: MachineOptions, append: string): string[] {
  const { guest, architecture, cpuCount } = options;
  return [
    architecture === 'amd64' ? 'qemu-system-x86_64' : 'qemu-system-i386',
    ...['-accel', 'tcg', '-m', String(RAM_MIB), '-smp', String(cpuCount)],
    ...['-display', 'none', '-nodefaults', '-no-reboot', '-serial', 'stdio'],
    ...['-kernel', guest.kernel, '-initrd', guest.initrd, '-append', append],
  ];
}
