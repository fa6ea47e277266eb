/** The plugin API is all in one place, says what it is, and is in the documentation. */
import { existsSync } from 'node:fs';
import { posix } from 'node:path';
import ts from 'typescript';
import { apiVersion } from '../../daemon/plugins/api';
import { readText } from './repository';

const api = 'daemon/plugins/api.ts';
const parse = (path: string): ts.SourceFile => ts.createSourceFile(path, readText(path), ts.ScriptTarget.ES2022, true);

interface Declared {
  readonly name: string;
  readonly documented: boolean;
  readonly members: readonly string[];
}

const isExported = (node: ts.Statement): boolean =>
  ts.canHaveModifiers(node) && ts.getModifiers(node)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) === true;

/** Interfaces of the API, those that are exported and those they extend. */
const declared: Declared[] = parse(api)
  .statements.filter(ts.isInterfaceDeclaration)
  .map((node) => ({
    name: node.name.text,
    documented: ts.getJSDocCommentsAndTags(node).length > 0 || !isExported(node),
    members: node.members.flatMap(({ name }) => (name === undefined ? [] : [name.getText()])),
  }));

test('every member of the API is in the README of plugins', () => {
  const words = new Set(
    [...readText('plugins/README.md').matchAll(/`(?:ctx\.)?(\w+)(?:\(\))?`/g)].map(([, word]) => word),
  );
  const missing = declared.flatMap(({ name, members }) =>
    members.filter((member) => !words.has(member)).map((member) => `${name}.${member}`),
  );
  expect(declared.length).toBeGreaterThan(10);
  expect(missing).toEqual([]);
});

test('the README and the API agree on its version', () => {
  const [major, minor] = apiVersion.split('.');
  expect(readText('plugins/README.md')).toContain(`\nVersion ${major}.${minor}, in [`);
  expect(readText(api)).toContain(`hearth plugin API, version ${major}.${minor}.`);
  expect(JSON.parse(readText('daemon/testkit/package.json'))).toMatchObject({ version: apiVersion });
});

test('every member of manifest, context, storage and metrics, and every function, has a comment of its own', () => {
  const bare = parse(api)
    .statements.filter(ts.isInterfaceDeclaration)
    .filter(({ name }) => ['PluginManifest', 'PluginContext', 'PluginMetrics', 'PluginStorage'].includes(name.text))
    .flatMap(({ name, members }) =>
      members
        .filter((member) => ts.getJSDocCommentsAndTags(member).length === 0)
        .map((member) => `${name.text}.${member.name?.getText()}`),
    );
  expect(bare).toEqual([]);
});

test('the types of the API need nothing but files of hearth', () => {
  const seen = new Set<string>();
  const foreign: string[] = [];
  const visit = (path: string): void => {
    if (seen.has(path)) return;
    seen.add(path);
    for (const node of parse(path).statements) {
      if (!ts.isImportDeclaration(node) && !ts.isExportDeclaration(node)) continue;
      if (node.moduleSpecifier === undefined) continue;
      const from = (node.moduleSpecifier as ts.StringLiteral).text;
      const target = `${posix.join(posix.dirname(path), from)}.ts`;
      if (from.startsWith('.') && existsSync(target)) visit(target);
      else foreign.push(`${path}: ${from}`);
    }
  };
  visit(api);
  expect(foreign).toEqual([]);
  expect(seen.size).toBeGreaterThan(2);
});
