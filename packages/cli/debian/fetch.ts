// A Debian kernel with its modules and a busybox, from the cache or from apt, kept by package version.

import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { cacheFolder } from 'mimic';
import { Apt, type Package } from './apt.ts';
import { DebianError } from './errors.ts';
import type { KernelModule } from './initramfs.ts';
import { loadOrder } from './modules.ts';

/** Folder of the cache; its number is raised when something else is kept of a package than before. */
const CACHE_NAME = 'debian-2';
/** Meta packages, the smallest kernel first; the later ones are Ubuntu's. */
const KERNEL_PACKAGES = [
  'linux-image-cloud-amd64',
  'linux-image-amd64',
  'linux-image-virtual',
  'linux-image-generic',
];
/** The cloud kernel knows no 9P file system, nor do all of Ubuntu's virtual ones. */
const SHARING_KERNEL_PACKAGES = ['linux-image-amd64', 'linux-image-generic'];
const BUSYBOX_PACKAGES = ['busybox-static'];
/** Folders of modules that may be needed; names as tar's patterns, with or without /usr in front. */
const MODULE_PATTERNS = [
  '*/kernel/drivers/virtio/*.ko*',
  '*/kernel/drivers/input/evdev.ko*',
  '*/kernel/drivers/acpi/button.ko*',
  '*/kernel/drivers/block/virtio_blk.ko*',
  '*/kernel/drivers/net/*failover.ko*',
  '*/kernel/drivers/net/virtio_net.ko*',
  '*/kernel/drivers/char/virtio_console.ko*',
  '*/kernel/drivers/char/hw_random/*.ko*',
  '*/kernel/net/core/failover.ko*',
  '*/kernel/net/9p/*.ko*',
  '*/kernel/fs/9p/*.ko*',
  '*/kernel/fs/fscache/*.ko*',
  '*/kernel/fs/netfs/*.ko*',
];

export interface DebianImages {
  /** 'linux-image-6.1.0-56-cloud-amd64 6.1.192-2' */
  readonly kernelName: string;
  readonly kernel: Uint8Array;
  /** In the order in which they load. */
  readonly modules: readonly KernelModule[];
  readonly busybox: Uint8Array;
}

/** Names of folders in the cache. */
interface Current {
  readonly kernel: string;
  readonly busybox: string;
}

export interface FetchOptions {
  /** Looks for newer packages than those in the cache. */
  readonly update: boolean;
  /** The guest will mount shared folders, which takes a larger kernel. */
  readonly sharing: boolean;
}

/** Asks apt only if the cache has nothing yet, or for `update`. */
export async function fetchDebian(
  options: FetchOptions,
  note: (text: string) => void,
): Promise<DebianImages> {
  const cache = join(cacheFolder(), CACHE_NAME);
  if (!options.update) {
    const cached = await readImages(cache, options).catch(() => undefined);
    if (cached !== undefined) return cached;
  }
  await mkdir(cache, { recursive: true });
  const work = await mkdtemp(join(cache, '.fetch-'));
  // An interrupt while apt runs must not leave the folder behind: `exit` handlers still run then.
  const removeWork = () => void spawnSync('rm', ['-rf', work]);
  const interrupted = () => process.exit(130);
  process.on('exit', removeWork).on('SIGINT', interrupted).on('SIGTERM', interrupted);
  try {
    await fetchInto({ cache, work, options }, note);
    return await readImages(cache, options);
  } finally {
    await rm(work, { recursive: true, force: true });
    process.off('exit', removeWork).off('SIGINT', interrupted).off('SIGTERM', interrupted);
  }
}

/** The file that names the folders of the newest packages. */
function currentFile({ sharing }: FetchOptions): string {
  return sharing ? 'current-sharing.json' : 'current.json';
}

async function fetchInto(
  { cache, work, options }: { cache: string; work: string; options: FetchOptions },
  note: (text: string) => void,
): Promise<void> {
  note('Asking apt for a Debian kernel and busybox');
  const apt = await Apt.open(work);
  const wanted = options.sharing ? SHARING_KERNEL_PACKAGES : KERNEL_PACKAGES;
  const kernel = await apt.resolve(wanted, note);
  const busybox = await apt.resolve(BUSYBOX_PACKAGES, note);
  const current: Current = { kernel: folderName(kernel), busybox: folderName(busybox) };
  await keep(join(cache, current.kernel), async (into) => {
    note(`Downloading ${kernel.name}`);
    const deb = await apt.download(kernel);
    note(`Unpacking ${kernel.name}`);
    await takeKernel(await apt.unpack(deb, ['*/vmlinuz-*', ...MODULE_PATTERNS]), into, kernel);
  });
  await keep(join(cache, current.busybox), async (into) => {
    note(`Downloading ${busybox.name}`);
    const files = await apt.unpack(await apt.download(busybox), ['*/bin/busybox']);
    const [program] = await findFiles(files, (name) => name === 'busybox');
    if (program === undefined) throw unusable(busybox, 'busybox');
    await writeFile(join(into, 'busybox'), await readFile(program));
  });
  await writeFile(join(work, 'current.json'), JSON.stringify(current));
  await rename(join(work, 'current.json'), join(cache, currentFile(options)));
}

function folderName({ name, version }: Package): string {
  return `${name}_${version.replaceAll(/[^\w.+~-]/g, '_')}`;
}

/** Fills a folder unless it is there; it appears complete or not at all. */
async function keep(folder: string, fill: (into: string) => Promise<void>): Promise<void> {
  if ((await readdir(folder).catch(() => [])).length > 0) return;
  const into = await mkdtemp(join(folder, '..', '.fetch-'));
  try {
    await fill(into);
    await rename(into, folder);
  } finally {
    await rm(into, { recursive: true, force: true });
  }
}

async function takeKernel(files: string, into: string, kernel: Package): Promise<void> {
  const [image] = await findFiles(files, (name) => name.startsWith('vmlinuz-'));
  if (image === undefined) throw unusable(kernel, '/boot/vmlinuz-*');
  await writeFile(join(into, 'vmlinuz'), await readFile(image));
  await mkdir(join(into, 'modules'));
  const modules: KernelModule[] = [];
  for (const path of await findFiles(files, (name) => /\.ko(\.\w+)?$/.test(name))) {
    const fileName = basename(path).replace(/\.ko\.\w+$/, '.ko');
    modules.push({ fileName, contents: decompress(path, await readFile(path)) });
  }
  for (const { fileName, contents } of loadOrder(modules)) {
    await writeFile(join(into, 'modules', fileName), contents);
  }
}

function unusable({ name, version }: Package, file: string): DebianError {
  return new DebianError('PACKAGE_UNUSABLE', `the package ${name} ${version} has no ${file}`, {
    hint: 'this version packs its files otherwise; please report it',
  });
}

function decompress(path: string, bytes: Uint8Array): Uint8Array {
  if (path.endsWith('.gz')) return gunzipSync(bytes);
  if (path.endsWith('.zst')) return zstdDecompressSync(bytes);
  if (!path.endsWith('.xz')) return bytes;
  const { status, stdout } = spawnSync('xz', ['-dc', path], { maxBuffer: 1 << 26 });
  return status === 0 ? stdout : bytes;
}

async function findFiles(folder: string, matches: (name: string) => boolean): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && matches(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));
}

async function readImages(cache: string, options: FetchOptions): Promise<DebianImages> {
  const current = JSON.parse(await readFile(join(cache, currentFile(options)), 'utf8')) as Current;
  const kernelFolder = join(cache, current.kernel);
  const modules: KernelModule[] = [];
  for (const fileName of await readdir(join(kernelFolder, 'modules'))) {
    modules.push({ fileName, contents: await readFile(join(kernelFolder, 'modules', fileName)) });
  }
  return {
    kernelName: current.kernel.replace('_', ' '),
    kernel: await readFile(join(kernelFolder, 'vmlinuz')),
    modules: loadOrder(modules),
    busybox: await readFile(join(cache, current.busybox, 'busybox')),
  };
}
