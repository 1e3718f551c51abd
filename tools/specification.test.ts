// docs/specification.md against the code: every exported limit of a package is listed, where it is and with its value.

import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const PAGE = join('docs', 'specification.md');
/** SOMETHING_MAX, SOMETHING_MIN, and both with a unit behind. */
const LIMIT = /^export const ([A-Z\d_]+_(?:MAX|MIN)(?:_[A-Z]+)?)\b/gm;
const ROW = /^\| \[`(\w+)`\]\(([^)]+)\) +\| (\d+)(?: (KiB|MiB|GiB))? +\|/gm;
const UNITS: Readonly<Record<string, number>> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

interface Row {
  readonly name: string;
  readonly path: string;
  readonly value: number;
}

const ROWS: readonly Row[] = [...readFileSync(join(ROOT, PAGE), 'utf8').matchAll(ROW)].map(
  ([, name = '', link = '', digits = '', unit = '']) => ({
    name,
    path: normalize(join(dirname(PAGE), link)),
    value: Number(digits) * (UNITS[unit] ?? 1),
  }),
);

test('every exported limit is on the page, once', () => {
  const exported = globSync('packages/**/*.ts', {
    cwd: ROOT,
    exclude: ['**/node_modules/**', '**/testing/**', '**/*.test.ts'],
  }).flatMap((path) =>
    [...readFileSync(join(ROOT, path), 'utf8').matchAll(LIMIT)].map(
      (match) => `${path} ${match[1]}`,
    ),
  );
  const listed = ROWS.map(({ path, name }) => `${path} ${name}`);
  assert.deepEqual(listed.toSorted(), exported.toSorted());
});

test('the values on the page are those of the code', async () => {
  for (const { name, path, value } of ROWS) {
    const module: Record<string, unknown> = await import(pathToFileURL(join(ROOT, path)).href);
    assert.equal(module[name], value, `${name} of ${path}`);
  }
});
