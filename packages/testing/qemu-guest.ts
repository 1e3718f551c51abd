// A test's guest on QEMU's emulator TCG: the reference for how a system behaves, and never the tested one.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Mailbox } from '../machine/mailbox.ts';
import { SerialPort } from '../machine/serial.ts';
import type { Guest, GuestEnd, GuestOptions } from './guest.ts';

/** Processors of QEMU that can do what Mimic's models can. */
const PROCESSORS = { v2: 'Nehalem', v3: 'Haswell', max: 'max' } as const;

export function startQemuGuest(options: GuestOptions): Guest {
  const folder = mkdtempSync(join(tmpdir(), 'mimic-qemu-'));
  const child = spawn('qemu-system-x86_64', qemuArguments(options, folder), {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  // Only the half of the port that looks at output is used; input goes to the process.
  const serial = new SerialPort(new Mailbox());
  let output = '';
  let errors = '';
  let stopped = false;
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString('latin1');
    void serial.deliver(chunk);
  });
  child.stderr.on('data', (chunk: Buffer) => {
    errors += String(chunk);
  });
  // A guest that ended does not read; what waited for its answer fails with a better message.
  child.stdin.on('error', () => {});
  const exited = new Promise<GuestEnd>((resolve) => {
    const finish = (end: GuestEnd) => {
      rmSync(folder, { recursive: true, force: true });
      serial.end(end);
      resolve(end);
    };
    child.on('error', (error) => finish(`crashed: ${error.message}`));
    child.on('close', (code) => {
      if (stopped) finish('stopped');
      else finish(code === 0 ? endFromOutput(output) : `crashed: ${errors}`);
    });
  });
  const stop = async () => {
    stopped = true;
    kill(child);
    await exited;
  };
  return {
    expect: (pattern, expectOptions) => serial.expect(pattern, expectOptions),
    sendLine: async (line = '') => void child.stdin.write(`${line}\r`),
    get output() {
      return output;
    },
    exited,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function qemuArguments(options: GuestOptions, folder: string): string[] {
  const { kernel, initrd, append = '', memoryMib = 256, disks = [], cpu = 'v2' } = options;
  const args = ['-accel', 'tcg', '-m', `${memoryMib}`, '-display', 'none', '-nodefaults'];
  args.push('-cpu', PROCESSORS[cpu], '-smp', `${options.cpus ?? 1}`);
  args.push('-no-reboot', '-serial', 'stdio', '-device', 'virtio-rng-pci');
  args.push('-kernel', kernel, '-append', `console=ttyS0 ${append}`);
  if (initrd !== undefined) {
    const path = join(folder, 'initrd');
    writeFileSync(path, initrd);
    args.push('-initrd', path);
  }
  for (const disk of disks) args.push('-drive', `file=${disk},format=raw,if=virtio`);
  return args;
}

/** With -no-reboot QEMU ends in the same way for both; the kernel says what it does last. */
function endFromOutput(output: string): GuestEnd {
  return /reboot: Restarting system|Rebooting in/.test(output) ? 'reset' : 'power-off';
}

function kill(child: ChildProcess): void {
  if (child.exitCode === null) child.kill('SIGKILL');
}
