// The command lines that boot the benchmark guest under each emulator, with its first serial port on standard output.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { ROOT } from '../steps.ts';
import type { BenchGuest } from './guest.ts';
import type { V86Files } from './v86.ts';

export const RAM_MIB = 256;
const KERNEL_COMMAND_LINE =
  'console=ttyS0 tsc=reliable mitigations=off random.trust_cpu=on nowatchdog panic=-1';

export const MACHINES = ['mimic', 'qemu', 'v86', 'base'] as const;
export type MachineName = (typeof MACHINES)[number];
/** As they are called in tables. */
export const MACHINE_TITLES: Readonly<Record<MachineName, string>> = {
  mimic: 'Mimic',
  qemu: 'QEMU',
  v86: 'v86',
  base: 'base',
};

export interface MachineOptions {
  readonly guest: BenchGuest;
  /** Image for reading only. */
  readonly disk: string | undefined;
  readonly items: readonly string[];
  /** How often each item runs in one boot. */
  readonly repeat: number;
  readonly cpuCount: number;
  /** Mimic's engine; undefined: its default. */
  readonly accel: string | undefined;
  /** Further options of `mimic run`, and of QEMU. */
  readonly mimicOptions: readonly string[];
  readonly qemuOptions: readonly string[];
  /** Where it is installed, if it is. */
  readonly v86?: V86Files | undefined;
  /** Another checkout of Mimic, and its engine. */
  readonly base?: { readonly root: string; readonly accel: string | undefined } | undefined;
}

export function machineCommand(name: MachineName, options: MachineOptions): string[] {
  const { items, repeat } = options;
  const selection = items.length === 0 ? 'boot' : items.join(',');
  const append = `${KERNEL_COMMAND_LINE} benchsel=${selection} benchrepeat=${repeat}`;
  switch (name) {
    case 'mimic':
      return mimicCommand(ROOT, options, append);
    case 'qemu':
      return qemuCommand(options, append);
    case 'v86':
      return v86Command(options, append);
    case 'base': {
      const { base } = options;
      assert(base !== undefined, 'base is named before it is started');
      return mimicCommand(base.root, { ...options, accel: base.accel }, append);
    }
  }
}

function mimicCommand(root: string, options: MachineOptions, append: string): string[] {
  const { guest, disk, cpuCount, accel, mimicOptions } = options;
  return [
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    ...[join(root, 'packages/cli/main.ts'), 'run'],
    ...['--kernel', guest.kernel, '--initrd', guest.initrd, '--append', append],
    ...['--memory', `${RAM_MIB}M`],
    ...(disk === undefined ? [] : ['--disk', `${disk},ro`]),
    ...(cpuCount > 1 ? ['--cpus', String(cpuCount)] : []),
    ...(accel === undefined ? [] : ['--accel', accel]),
    ...mimicOptions,
  ];
}

/** TCG with QEMU's defaults: one host thread for each processor. */
function qemuCommand(options: MachineOptions, append: string): string[] {
  const { guest, disk, cpuCount, qemuOptions } = options;
  const drive = `file=${disk},if=virtio,format=raw,readonly=on`;
  return [
    guest.architecture === 'amd64' ? 'qemu-system-x86_64' : 'qemu-system-i386',
    ...['-accel', 'tcg', '-m', String(RAM_MIB), '-smp', String(cpuCount)],
    ...['-display', 'none', '-nodefaults', '-no-reboot', '-serial', 'stdio'],
    ...['-kernel', guest.kernel, '-initrd', guest.initrd, '-append', append],
    ...(disk === undefined ? [] : ['-drive', drive]),
    ...qemuOptions,
  ];
}

function v86Command({ guest, v86 }: MachineOptions, append: string): string[] {
  assert(v86 !== undefined, 'v86 is installed before it is started');
  return [
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    ...[join(ROOT, 'tools/bench/v86-machine.ts'), v86.folder, v86.bios, v86.vgaBios],
    ...[guest.kernel, guest.initrd, String(RAM_MIB), append],
  ];
}
