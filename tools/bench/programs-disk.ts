// The disk with Debian's programs that the benchmark guest runs: gcc, Python, Perl, SQLite, OpenSSL, 7-Zip and xz with
// all that they depend on, unpacked into a squashfs that is not compressed, and the files that they work on.
// Needs apt, dpkg-deb and mksquashfs, but not root; kept in .cache/bench until its recipe changes.

import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import {
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installMissing } from '../debian-packages.ts';
import { execute } from './execute.ts';
import { BENCH_CACHE, removeOlder } from './guest.ts';

const PACKAGES = [
  ...['gcc-12', 'libc6-dev', 'libstb-dev', 'python3.11', 'perl-base'],
  ...['sqlite3', 'openssl', '7zip', 'xz-utils'],
];
/** What no item reads: manuals, compilers' other passes, sanitizers, static libraries. */
const REMOVED = [
  ...['var', 'usr/share', 'usr/sbin', 'sbin', 'usr/lib/x86_64-linux-gnu/gconv'],
  ...['usr/bin/x86_64-linux-gnu-lto-dump-12', 'usr/lib/gcc/x86_64-linux-gnu/12/lto1'],
  ...['asan', 'tsan', 'ubsan', 'lsan'].flatMap((name) => [
    `usr/lib/gcc/x86_64-linux-gnu/12/lib${name}.a`,
    `usr/lib/gcc/x86_64-linux-gnu/12/lib${name}_preinit.o`,
  ]),
  'usr/lib/x86_64-linux-gnu/libc.a',
];
/** What 7-Zip packs, and what xz unpacks. */
const CORPUS_BYTES = { packed: 1_200_000, unpacked: 12_000_000 } as const;
const RSA_BITS = 4096;
const MOUNT_POINTS = ['dev', 'proc', 'tmp', 'sys'];
const programs = fileURLToPath(new URL('programs/', import.meta.url));

export interface ProgramsDisk {
  /** Path of the image; the guest mounts it for reading only. */
  readonly image: string;
  /** What is on it: 'gcc-12 12.2.0-14+deb12u1'. */
  readonly versions: readonly string[];
}

/** For amd64 only. The first call downloads some 70 MB of packages. */
export async function programsDisk(): Promise<ProgramsDisk> {
  const recipe = [fileURLToPath(import.meta.url)];
  for (const name of (await readdir(programs)).sort()) recipe.push(join(programs, name));
  const contents = await Promise.all(recipe.map((path) => readFile(path)));
  const hash = createHash('sha256').update(Buffer.concat(contents)).digest('hex').slice(0, 12);
  const folder = join(BENCH_CACHE, `programs-${hash}`);
  if (!existsSync(folder)) await build(folder);
  const versions = JSON.parse(await readFile(join(folder, 'versions.json'), 'utf8')) as string[];
  return { image: join(folder, 'image'), versions };
}

async function build(folder: string): Promise<void> {
  installMissing({ mksquashfs: 'squashfs-tools' });
  process.stderr.write('Building the disk with programs …\n');
  await mkdir(BENCH_CACHE, { recursive: true });
  const work = await mkdtemp(join(BENCH_CACHE, '.programs-'));
  try {
    const root = join(work, 'root');
    const out = join(work, 'out');
    await mkdir(root);
    await mkdir(out);
    const versions = await unpackPackages(work, root);
    for (const path of REMOVED) await rm(join(root, path), { recursive: true, force: true });
    for (const path of MOUNT_POINTS) await mkdir(join(root, path), { recursive: true });
    await addPrograms(root);
    await writeFile(join(out, 'versions.json'), JSON.stringify(versions, undefined, 1));
    const form = ['-noI', '-noD', '-noF', '-noX', '-all-root', '-no-xattrs', '-no-progress'];
    const env = { SOURCE_DATE_EPOCH: '0' };
    await execute('mksquashfs', [root, join(out, 'image'), '-quiet', ...form], { env });
    await rename(out, folder);
    await removeOlder(folder);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Downloads as for a system with nothing installed, so that all dependencies come too. Returns their versions. */
async function unpackPackages(work: string, root: string): Promise<string[]> {
  const archives = join(work, 'archives');
  await mkdir(join(archives, 'partial'), { recursive: true });
  await writeFile(join(work, 'status'), '');
  const options = [
    `Dir::State::status=${join(work, 'status')}`,
    `Dir::Cache::archives=${archives}`,
    ...['Dir::Cache::pkgcache=', 'Dir::Cache::srcpkgcache=', 'Debug::NoLocking=1'],
    ...['APT::Architecture=amd64', 'APT::Architectures=amd64', 'APT::Sandbox::User=root'],
  ].flatMap((option) => ['-o', option]);
  const mode = ['-qq', '-y', '--download-only', '--no-install-recommends'];
  const install = [...mode, 'install', ...PACKAGES];
  try {
    await execute('apt-get', [...options, ...install]);
  } catch {
    // The system's package lists are stale or empty: lists of our own.
    const lists = join(work, 'lists');
    await mkdir(join(lists, 'partial'), { recursive: true });
    const own = [...options, '-o', `Dir::State::Lists=${lists}`];
    await execute('apt-get', [...own, '-qq', 'update']);
    await execute('apt-get', [...own, ...install]);
  }
  const files = (await readdir(archives)).filter((name) => name.endsWith('.deb')).sort();
  for (const file of files) await execute('dpkg-deb', ['-x', join(archives, file), root]);
  return files
    .map((file) => decodeURIComponent(file).split('_'))
    .filter(([name]) => PACKAGES.includes(name ?? ''))
    .map(([name, version]) => `${name} ${version}`);
}

/** /programs in the guest: the scripts, and data made from the packages' own files by the packages' own programs. */
async function addPrograms(root: string): Promise<void> {
  const into = join(root, 'programs');
  await mkdir(into);
  for (const name of await readdir(programs))
    await copyFile(join(programs, name), join(into, name));
  const sources: Buffer[] = [];
  for (const folder of ['usr/lib/python3.11', 'usr/include/stb', 'usr/include/linux']) {
    const entries = await readdir(join(root, folder), { withFileTypes: true });
    const names = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
    for (const name of names.sort()) sources.push(await readFile(join(root, folder, name)));
  }
  const corpus = Buffer.concat(sources);
  await writeFile(join(into, 'corpus'), corpus.subarray(0, CORPUS_BYTES.packed));
  const text = join(into, 'text');
  await writeFile(text, corpus.subarray(0, CORPUS_BYTES.unpacked));
  await executeIn(root, 'usr/bin/xz', ['-6', text]);
  const key = join(into, 'key.pem');
  await executeIn(root, 'usr/bin/openssl', ['genrsa', '-out', key, String(RSA_BITS)]);
}

/** Runs a program of the tree with the tree's own libraries. */
async function executeIn(root: string, program: string, args: readonly string[]): Promise<void> {
  const folders = ['lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu'];
  const libraries = folders.map((folder) => join(root, folder)).join(':');
  const loader = join(root, 'lib/x86_64-linux-gnu/ld-linux-x86-64.so.2');
  const env = { OPENSSL_CONF: '/dev/null' };
  await execute(loader, ['--library-path', libraries, join(root, program), ...args], { env });
}
