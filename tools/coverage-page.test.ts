import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { coveragePage, PAGE } from './coverage-page.ts';

test('docs/coverage.md is what the instruction table gives', () => {
  const isCurrent = readFileSync(PAGE, 'utf8') === coveragePage();
  assert.ok(isCurrent, 'docs/coverage.md is out of date: npm run coverage-page');
});
