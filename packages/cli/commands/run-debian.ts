// mimic run debian: a Debian kernel and a busybox shell, fetched by the system's package client on first use.

import { readFile } from 'node:fs/promises';
import { Command } from 'commander';
import { fileError, type Host } from 'mimic';
import type { DebianImages } from '../debian/fetch.ts';
import { EXIT_CODE_HELP } from '../exit-codes.ts';
import { withProgress } from '../progress.ts';
import { addRunOptions, type RunOptions } from '../run-options.ts';

const EXAMPLES = `
The kernel and busybox are Debian's packages linux-image-cloud-amd64 and busybox-static, downloaded by
apt-get (no root needed, nothing is installed) and kept in ~/.cache/mimic. With --share it is the larger
linux-image-amd64, which can mount shared folders; each is at /mnt/TAG. "exit" in the guest's shell, or
Ctrl-A x, ends the machine; so does the end of a script that is piped in.

Examples:
  mimic run debian
  mimic run debian --memory 1G --disk data.img
  mimic run debian --share ~/project     in the guest: /mnt/share
  echo 'uname -a' | mimic run debian --append quiet
  mimic run debian --kernel /boot/vmlinuz --busybox /bin/busybox     without apt

${EXIT_CODE_HELP}
`;

interface DebianOptions extends RunOptions {
  readonly kernel?: string;
  readonly busybox?: string;
  readonly update?: boolean;
}

/** `host` is for tests that bring their own worker. */
export function runDebianCommand(host: Host | undefined): Command {
  const command = new Command('debian')
    .summary('boot a Debian kernel to a shell, fetched on first use')
    .description(
      'Boots a Debian kernel to a busybox shell. Both are fetched on first use and cached.',
    )
    .option('-k, --kernel <file>', 'use this kernel instead of fetching one')
    .option('--busybox <file>', 'use this static busybox instead of fetching one')
    .option('--update', 'look for newer packages than the cached ones');
  return addRunOptions(command)
    .addHelpText('after', EXAMPLES)
    .action(async (_local: DebianOptions, self: Command) => {
      // Options before the word "debian" were read by `run`.
      const options = self.optsWithGlobals<DebianOptions>();
      const { runSession } = await import('../session.ts');
      const { buildInitramfs } = await import('../debian/initramfs.ts');
      const { kernel, modules, busybox } = await getImages(options);
      const initrd = buildInitramfs({ busybox, modules });
      const append = commandLine(options);
      process.exitCode = await runSession(
        { kernel, initrd, append, endOfInput: 'ctrl-d' },
        options,
        host,
      );
    });
}

async function getImages(
  options: DebianOptions,
): Promise<Pick<DebianImages, 'kernel' | 'modules' | 'busybox'>> {
  const given = {
    ...(options.kernel === undefined
      ? {}
      : { kernel: await readGiven(options.kernel), modules: [] }),
    ...(options.busybox === undefined ? {} : { busybox: await readGiven(options.busybox) }),
  };
  const { kernel, modules, busybox } = given;
  if (kernel !== undefined && modules !== undefined && busybox !== undefined) {
    return { kernel, modules, busybox };
  }
  const { fetchDebian } = await import('../debian/fetch.ts');
  const fetched = await withProgress('Getting a Debian kernel and busybox', (note) =>
    fetchDebian({ update: options.update === true, sharing: options.share !== undefined }, note),
  );
  return { ...fetched, ...given };
}

async function readGiven(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw fileError(path, error);
  }
}

/** The serial console, what init gets as variables (shares, the user's terminal), the user's own text. */
function commandLine({ append, share = [] }: DebianOptions): string {
  const words = ['console=ttyS0'];
  if (share.length > 0) words.push(`SHARE=${share.map(({ tag }) => tag).join(',')}`);
  if (process.stdin.isTTY === true && process.stdout.isTTY === true) {
    const { columns, rows } = process.stdout;
    words.push(`COLUMNS=${columns}`, `LINES=${rows}`);
    if (/^[\w.+-]+$/.test(process.env.TERM ?? '')) words.push(`TERM=${process.env.TERM}`);
  }
  if (append !== undefined) words.push(append);
  return words.join(' ');
}
