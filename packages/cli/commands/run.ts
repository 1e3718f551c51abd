// mimic run: starts a machine from a kernel and connects it to the terminal.

import { Command, CommanderError } from 'commander';
import type { Host } from 'mimic';
import { EXIT_CODE_HELP } from '../exit-codes.ts';
import { printError } from '../report.ts';
import { addRunOptions, type RunOptions } from '../run-options.ts';
import { runDebianCommand } from './run-debian.ts';

const EXAMPLES = `
On a terminal, Ctrl-A x quits and Ctrl-A h shows the other keys. Without one, the guest runs on when the
input ends, and its serial output still comes.

Examples:
  Boot Debian to a shell; its kernel is fetched on first use:
    mimic run debian

  Boot a kernel of your own. Without console=ttyS0 a Linux guest prints nothing here:
    mimic run --kernel vmlinuz --initrd initrd.img --append 'console=ttyS0'

  A disk with a root file system on it; nothing that the guest writes is kept:
    mimic run --kernel vmlinuz --initrd initrd.img --disk root.img,snapshot=on \\
      --append 'console=ttyS0 root=/dev/vda1'

  In a test: a guest that panics ends the run with code 10, one that hangs with 124:
    mimic run --kernel bzImage --append 'console=ttyS0 panic=-1' --no-reboot --timeout 60s </dev/null

  See what a guest does to its hardware:
    mimic run --kernel vmlinuz --trace ports,mmio:trace.txt

  See where a guest spends its time, by the names of its own kernel's functions:
    mimic run --kernel vmlinuz --symbols System.map --profile guest.cpuprofile

  Have the same run again, input and all:
    mimic run --kernel vmlinuz --initrd initrd.img --append 'console=ttyS0' --deterministic --record run.log
    mimic run --kernel vmlinuz --initrd initrd.img --append 'console=ttyS0' --replay run.log

${EXIT_CODE_HELP}
`;

interface KernelOptions extends RunOptions {
  readonly kernel?: string;
  readonly initrd?: string;
}

/** `host` is for tests that bring their own worker. */
export function runCommand(host: Host | undefined): Command {
  const command = new Command('run')
    .summary('start a virtual machine')
    .description(
      'Starts a virtual PC with the given kernel. Its serial port is connected to this terminal.',
    )
    .usage('--kernel <file> [options]')
    .option('-k, --kernel <file>', 'Linux bzImage, or an ELF kernel with a PVH entry')
    .option('-i, --initrd <file>', 'initial RAM disk (initramfs)');
  command.hook('preAction', async (_, self) => {
    if (self.optsWithGlobals<RunOptions>().cpu === 'list') await listCpuModels();
  });
  addRunOptions(command)
    .addHelpText('after', EXAMPLES)
    .action(async (options: KernelOptions) => {
      const { kernel, initrd, append } = options;
      if (kernel === undefined) {
        printError(
          'there is no kernel to run',
          'name one with --kernel FILE, or try "mimic run debian", which fetches one',
        );
        process.exitCode = 2;
        return;
      }
      const { runSession } = await import('../session.ts');
      const images = {
        kernel,
        ...(initrd === undefined ? {} : { initrd }),
        ...(append === undefined ? {} : { append }),
      };
      process.exitCode = await runSession(images, options, host);
    });
  return command.addCommand(runDebianCommand(host));
}

/** Prints the models, and ends the command before it runs anything. */
async function listCpuModels(): Promise<never> {
  const { describeCpuModels } = await import('mimic');
  process.stdout.write(describeCpuModels());
  throw new CommanderError(0, 'mimic.listed', '');
}
