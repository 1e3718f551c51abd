// The system's own package client, asked for single packages: nothing is installed and root is not needed.
// Where its package lists are empty (containers), lists of our own are fetched into a temporary folder.

import { spawn } from 'node:child_process';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DebianError, TWO_FILES_HINT } from './errors.ts';

export interface Package {
  readonly name: string;
  readonly version: string;
}

export class Apt {
  readonly #folder: string;
  /** Those that keep apt's state in our folder are added when the system's lists will not do. */
  #options: string[];

  /** `folder` is temporary and the caller's to remove. Fails where there is no apt. */
  static async open(folder: string, architecture: 'amd64' | 'i386' = 'amd64'): Promise<Apt> {
    for (const program of ['apt-get', 'apt-cache', 'dpkg-deb', 'tar']) {
      const { code } = await execute(program, ['--version'], folder);
      if (code !== undefined) continue;
      throw new DebianError(
        'NO_PACKAGE_CLIENT',
        `there is no ${program} here to fetch a kernel with`,
        {
          hint: TWO_FILES_HINT,
        },
      );
    }
    return new Apt(folder, architecture);
  }

  private constructor(folder: string, architecture: string) {
    this.#folder = folder;
    // The one architecture only: lists of others that the system has configured may be broken or missing.
    this.#options = [
      `APT::Architecture=${architecture}`,
      `APT::Architectures=${architecture}`,
    ].flatMap((option) => ['-o', option]);
  }

  /**
   * The first of the packages that can be had, a meta package replaced by the real one that it stands for:
   * linux-image-cloud-amd64 depends on linux-image-6.1.0-56-cloud-amd64.
   */
  async resolve(names: readonly string[], note: (text: string) => void): Promise<Package> {
    let found = await this.#findFirst(names);
    if (found === undefined) {
      note('Fetching package lists');
      await this.#updateOwnLists();
      found = await this.#findFirst(names);
    }
    if (found !== undefined) return found;
    throw new DebianError('PACKAGE_UNKNOWN', `apt knows no package ${names.join(' or ')}`, {
      hint: `try "apt-get update", or ${TWO_FILES_HINT}`,
    });
  }

  /** The path of the downloaded .deb; apt has checked it against its signed lists. */
  async download({ name, version }: Package): Promise<string> {
    const into = join(this.#folder, name);
    await mkdir(into, { recursive: true });
    const args = [...this.#options, '-q', 'download', `${name}=${version}`];
    const { code, errors } = await execute('apt-get', args, into);
    const file = (await readdir(into)).find((entry) => entry.endsWith('.deb'));
    if (code === 0 && file !== undefined) return join(into, file);
    throw new DebianError(
      'DOWNLOAD_FAILED',
      `apt-get could not download ${name}: ${lastError(errors)}`,
      {
        hint: `check the network and try again, or ${TWO_FILES_HINT}`,
      },
    );
  }

  /** Unpacks the files that match the patterns of tar; returns the folder they are under. */
  async unpack(deb: string, patterns: readonly string[]): Promise<string> {
    const into = `${deb}.files`;
    await mkdir(into, { recursive: true });
    const tar = ['-x', '-C', into, '--no-same-owner', '--wildcards', ...patterns];
    await pipe(['dpkg-deb', '--fsys-tarfile', deb], ['tar', ...tar]);
    return into;
  }

  async #findFirst(names: readonly string[]): Promise<Package | undefined> {
    for (const name of names) {
      const found = await this.#find(name);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  async #find(name: string): Promise<Package | undefined> {
    const args = [...this.#options, 'show', '--no-all-versions', name];
    const { code, output } = await execute('apt-cache', args, this.#folder);
    if (code !== 0) return undefined;
    const version = /^Version: (.*)$/m.exec(output)?.[1];
    const real = /^Depends: .*?\b(linux-image-\d+\.[^ ,|]*)/m.exec(output)?.[1];
    // Not by the digit alone: linux-image-686 is a meta package too.
    if (real !== undefined && !/^linux-image-\d+\./.test(name)) return await this.#find(real);
    return version === undefined ? undefined : { name, version };
  }

  async #updateOwnLists(): Promise<void> {
    const lists = join(this.#folder, 'lists');
    const archives = join(this.#folder, 'archives');
    await mkdir(join(lists, 'partial'), { recursive: true });
    await mkdir(join(archives, 'partial'), { recursive: true });
    this.#options = [
      ...this.#options,
      ...['-o', `Dir::State::Lists=${lists}`, '-o', `Dir::Cache::archives=${archives}`],
      ...['-o', 'Dir::Cache::pkgcache=', '-o', 'Dir::Cache::srcpkgcache='],
      ...['-o', 'APT::Sandbox::User=root', '-o', 'APT::Update::Post-Invoke-Success::='],
    ];
    // One source of several may fail and the package be there all the same: what counts is what is found next.
    await execute('apt-get', [...this.#options, '-q', 'update'], this.#folder);
  }
}

/** `code` is undefined if there is no such program. Output beyond a sane size is cut. */
async function execute(
  program: string,
  args: readonly string[],
  cwd: string,
): Promise<{ code: number | undefined; output: string; errors: string }> {
  return await new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
    });
    let output = '';
    let errors = '';
    child.stdout.on('data', (chunk) => {
      if (output.length < OUTPUT_LENGTH_MAX) output += String(chunk);
    });
    child.stderr.on('data', (chunk) => {
      if (errors.length < OUTPUT_LENGTH_MAX) errors += String(chunk);
    });
    child.on('error', () => resolve({ code: undefined, output, errors }));
    child.on('close', (code) => resolve({ code: code ?? 1, output, errors }));
  });
}

const OUTPUT_LENGTH_MAX = 1 << 22;

/** from | to. A pattern that matches nothing is no failure: the caller looks for what it needs. */
async function pipe(from: readonly string[], to: readonly string[]): Promise<void> {
  const [fromProgram = '', ...fromArgs] = from;
  const [toProgram = '', ...toArgs] = to;
  await new Promise<void>((resolve, reject) => {
    const source = spawn(fromProgram, fromArgs, { stdio: ['ignore', 'pipe', 'ignore'] });
    const sink = spawn(toProgram, toArgs, { stdio: [source.stdout, 'ignore', 'ignore'] });
    source.stdout.destroy(); // The child has its own copy; ours would keep the pipe open.
    source.on('error', reject);
    sink.on('error', reject);
    sink.on('close', () => resolve());
  });
}

function lastError(errors: string): string {
  const lines = errors.trim().split('\n');
  return (
    lines
      .findLast((line) => line.startsWith('E:'))
      ?.slice(2)
      .trim() ??
    lines.at(-1) ??
    ''
  );
}
