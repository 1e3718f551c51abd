// House rules that a machine can check: which package may import which, what is free of Node, names, sizes, headers.
// The style guide says why; formatting, default exports and `any` are Biome's business.

import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative, sep } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** What each package may import of the others. A new arrow needs a decision record. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: [],
  cpu: ['base'],
  devices: ['base'],
  storage: ['base'],
  network: ['base'],
  protocol: ['base'],
  board: ['base', 'devices'],
  machine: ['base', 'cpu', 'board', 'devices'],
  host: ['base', 'machine', 'storage', 'network'],
  mimic: ['base', 'machine', 'host'],
  hypervisor: ['base', 'machine', 'storage', 'network', 'host', 'protocol'],
  cli: ['base', 'mimic'],
  cloud: ['base', 'protocol'],
  web: ['base', 'protocol'],
};
/** Imported by tests only, and may import anything. */
const TESTING = 'testing';
/** The packages that know Node; all others run in a browser too. */
const KNOW_NODE = ['host', 'mimic', 'cli', 'hypervisor', 'cloud'];
const NODE_GLOBALS =
  /\b(?:Buffer\.|__dirname|process\.(?:env|argv|stdin|stdout|stderr|platform|exit|hrtime|on)\b)/;
const DOM_GLOBALS = /\b(?:document|window|localStorage|navigator)\./;
/** Tests, and what stands beside them for tests only. */
const TEST_FILE = /(?:\.test|[\\/]test-[a-z-]+)\.ts$/;
/** Plain JavaScript that finds Node before any package can be loaded. */
const LAUNCHER = join('packages', 'cli', 'bin', 'mimic.mjs');
const LINE_COUNT_MAX = 800;
const NAMES_THAT_SAY_NOTHING = /^(?:utils?|helpers?|common|misc|managers?|shared|stuff)$/;

interface Source {
  readonly path: string;
  readonly package: string | undefined;
  /** A test, or something that only tests import. */
  readonly forTests: boolean;
  readonly text: string;
}

const SOURCES: readonly Source[] = globSync('{packages,tools,tests}/**/*.{ts,mjs}', {
  cwd: ROOT,
  exclude: ['**/node_modules/**'],
}).map((path) => {
  const parts = path.split(sep);
  const inPackage = parts[0] === 'packages' ? parts[1] : undefined;
  return {
    path,
    package: inPackage,
    forTests: inPackage === undefined || parts.includes(TESTING) || TEST_FILE.test(path),
    text: readFileSync(join(ROOT, path), 'utf8'),
  };
});

/** Module names of static and dynamic imports and of re-exports. */
function importsOf({ text }: Source): string[] {
  const pattern =
    /^\s*(?:import|export)\s(?:[^'";]*?\sfrom\s)?['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/gm;
  return [...text.matchAll(pattern)].map((match) => match[1] ?? match[2] ?? '');
}

/** The workspace package behind an import; a relative one may lead into another package too. */
function packageBehind(source: Source, name: string): string | undefined {
  if (name === 'mimic') return 'mimic';
  const scoped = /^@mimic\/([^/]+)/.exec(name)?.[1];
  if (scoped !== undefined) return scoped;
  if (!name.startsWith('.')) return undefined;
  const [top, folder] = normalize(join(dirname(source.path), name)).split(sep);
  return top === 'packages' ? folder : top;
}

function check(what: string, complaints: readonly string[]): void {
  assert.deepEqual(complaints, [], `${what}:\n  ${complaints.join('\n  ')}`);
}

test('packages import only what the table allows', () => {
  const complaints = SOURCES.flatMap((source) => {
    const own = source.package;
    if (own === undefined || source.forTests || source.path === LAUNCHER) return [];
    const allowed = MAY_IMPORT[own];
    if (allowed === undefined) return [`${source.path}: the table has no package "${own}"`];
    return importsOf(source)
      .map((name) => packageBehind(source, name))
      .filter((behind) => behind !== undefined && behind !== own && !allowed.includes(behind))
      .map((behind) => `${source.path}: ${own} may not import ${behind}`);
  });
  check('imports that the table does not allow', complaints);
});

test('a package that ships names what it imports, and reaches others by their names', () => {
  const complaints = SOURCES.filter(
    ({ forTests, path }) => !forTests && path.endsWith('.ts'),
  ).flatMap((source) => {
    const manifest = JSON.parse(
      readFileSync(join(ROOT, 'packages', source.package ?? '', 'package.json'), 'utf8'),
    ) as { dependencies?: Record<string, string> };
    return importsOf(source).flatMap((name) => {
      if (name.startsWith('.')) {
        const into = packageBehind(source, name);
        return into === source.package ? [] : [`${source.path}: ${name} leaves the package`];
      }
      if (name.startsWith('node:')) return [];
      const dependency = /^(?:@[^/]+\/)?[^/]+/.exec(name)?.[0] ?? name;
      const known = Object.hasOwn(manifest.dependencies ?? {}, dependency);
      return known ? [] : [`${source.path}: package.json does not name ${dependency}`];
    });
  });
  check('imports that package.json does not name', complaints);
});

test('what ships imports nothing that is for tests', () => {
  const complaints = SOURCES.filter(({ forTests }) => !forTests).flatMap((source) =>
    importsOf(source)
      .filter((name) => name.endsWith('.test.ts') || name.split('/').includes(TESTING))
      .map((name) => `${source.path} imports ${name}`),
  );
  check('imports of tests', complaints);
});

test('only host-side packages know Node or the DOM', () => {
  const complaints = SOURCES.filter(
    ({ forTests, package: own }) => !forTests && !KNOW_NODE.includes(own ?? ''),
  ).flatMap((source) => {
    const code = source.text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$|'[^'\n]*'|`[^`]*`/gm, '');
    const found = [NODE_GLOBALS, DOM_GLOBALS]
      .map((pattern) => pattern.exec(code)?.[0])
      .filter((name) => name !== undefined);
    const imports = importsOf(source).filter((name) => name.startsWith('node:'));
    return [...found, ...imports].map((name) => `${source.path} uses ${name}`);
  });
  check('uses of Node or the DOM', complaints);
});

test('files have at most 800 lines, tables of instructions and generated code apart', () => {
  const complaints = SOURCES.filter(
    ({ path, text }) => !path.includes(join('cpu', 'isa')) && !text.startsWith('// Generated by '),
  )
    .map(({ path, text }) => ({ path, lineCount: text.split('\n').length - 1 }))
    .filter(({ lineCount }) => lineCount > LINE_COUNT_MAX)
    .map(({ path, lineCount }) => `${path} has ${lineCount} lines`);
  check('files that are too long', complaints);
});

test('names are lower case with hyphens and say what is inside', () => {
  const complaints = SOURCES.flatMap(({ path }) => {
    const parts = path.split(sep);
    const odd = parts.filter((part) => !/^[a-z0-9]+(?:[-.][a-z0-9]+)*$/.test(part));
    const empty = parts.filter((part) => NAMES_THAT_SAY_NOTHING.test(part.split('.')[0] ?? ''));
    return [...odd, ...empty].map((part) => `${path}: "${part}"`);
  });
  check('names', complaints);
});

test('every file opens with a comment that says what it is', () => {
  const complaints = SOURCES.filter(
    ({ path, text }) =>
      !/(?:^|[\\/])index\.ts$/.test(path) &&
      !path.endsWith('.test.ts') &&
      !/^(?:#!.*\n)?(?:\/\/ \S|\/\*\*)/.test(text),
  ).map(({ path }) => path);
  check('files without a header', complaints);
});

test('the table covers every package', () => {
  const folders = globSync('packages/*/package.json', { cwd: ROOT }).map((path) =>
    relative('packages', dirname(path)),
  );
  const complaints = folders.filter((name) => name !== TESTING && !Object.hasOwn(MAY_IMPORT, name));
  check('packages that the table does not know', complaints);
});
