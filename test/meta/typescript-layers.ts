/** Which TypeScript file may use what: read from the syntax tree, so that a comment or a string is no violation. */
import { posix } from 'node:path';
import ts from 'typescript';
import type { SourceFile } from './repository';

interface Import {
  readonly from: string;
  /** It leaves nothing in the output: only types are imported. */
  readonly typeOnly: boolean;
}

interface Facts {
  readonly imports: readonly Import[];
  /** Native addons named in a string, such as `hearth.node`. */
  readonly addons: readonly string[];
  readonly readsEnvironment: boolean;
  /** Classes constructed. */
  readonly constructs: readonly string[];
}

/** One sentence for each violation, sorted. */
export function typescriptViolations(files: readonly SourceFile[]): string[] {
  const all = files.map(({ path, text }) => ({ path, ...factsOf(path, text) }));
  const services = new Set(
    (all.find(({ path }) => path === 'daemon/main.ts')?.constructs ?? []).filter(
      (name) => !(name in globalThis) && !name.endsWith('Error'),
    ),
  );
  return [...all.flatMap((file) => violationsOf(file, services)), ...runtimeInTheDaemon(all)].sort();
}

/** Files that load the runtime into their process by way of others. */
function runtimeInTheDaemon(all: readonly (Facts & { readonly path: string })[]): string[] {
  const withRuntime = new Set([native]);
  let before = 0;
  while (before !== withRuntime.size) {
    before = withRuntime.size;
    for (const { path, imports } of all) {
      if (imports.some(({ from, typeOnly }) => !typeOnly && withRuntime.has(targetOf(path, from)))) {
        withRuntime.add(path.replace(/\.ts$/, ''));
      }
    }
  }
  return [...withRuntime]
    .filter((path) => path !== native && !runnerSide.test(path) && !path.startsWith('test/'))
    .map((path) => `${path}.ts loads ${native}, if by way of others: only the runner has the runtime in its process`);
}

const native = 'daemon/inference/native';
/** What runs in the runner process. */
const runnerSide = /^daemon\/inference\/(runner|generate)$/;

/** An import as a path from the root without its ending, or the name of a package. */
function targetOf(path: string, from: string): string {
  return from.startsWith('.') ? posix.join(posix.dirname(path), from).replace(/\.(js|mjs|ts)$/, '') : from;
}

function violationsOf(file: Facts & { readonly path: string }, services: ReadonlySet<string>): string[] {
  const { path } = file;
  const found: string[] = [];
  const inside = (...folders: string[]): boolean => folders.some((folder) => path.startsWith(folder));
  const isTest = inside('test/');

  for (const { from } of file.imports) {
    const target = targetOf(path, from);
    if (/^mqtt(\/|$)/.test(from) && !isTest && !inside('daemon/bus/', 'daemon/demo/')) {
      found.push(`${path} imports ${from}: only daemon/bus speaks MQTT`);
    }
    if (inside('plugins/') && from.startsWith('.')) {
      const own = path.split('/').slice(0, 2).join('/');
      if (target !== 'daemon/plugins/api' && !target.startsWith(`${own}/`)) {
        found.push(`${path} imports ${target}: a plugin uses daemon/plugins/api and nothing else of hearth`);
      }
    }
    if (!inside('plugins/', 'test/') && target.startsWith('plugins/')) {
      found.push(`${path} imports ${target}: the daemon finds plugins at run time`);
    }
    if (!isTest && target.startsWith('test/'))
      found.push(`${path} imports ${target}: the product does not use its tests`);
  }
  const addonHomes: Readonly<Record<string, string>> = {
    'hearth.node': 'daemon/inference/native.ts',
    'sd_notify.node': 'daemon/health/sd-notify.ts',
  };
  for (const addon of file.addons) {
    if (!isTest && addonHomes[addon] !== path) found.push(`${path} names ${addon}: an addon is loaded in one place`);
  }
  if (file.readsEnvironment && !isTest && !inside('daemon/config/') && path !== 'daemon/setup.mjs') {
    found.push(`${path} reads the environment: only daemon/config does`);
  }
  if (!isTest && path !== 'daemon/main.ts' && inside('daemon/', 'plugins/')) {
    for (const name of file.constructs) {
      if (services.has(name)) found.push(`${path} constructs ${name}: only daemon/main.ts constructs services`);
    }
  }
  return found;
}

function factsOf(path: string, text: string): Facts {
  const imports: Import[] = [];
  const addons: string[] = [];
  const constructs: string[] = [];
  let readsEnvironment = false;

  const visit = (node: ts.Node): void => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier !== undefined) {
      const from = (node.moduleSpecifier as ts.StringLiteral).text;
      imports.push({ from, typeOnly: isTypeOnly(node) });
      if (/^(node:)?process$/.test(from) && / env\b|\{env\b/.test(node.getText())) readsEnvironment = true;
    }
    if (ts.isCallExpression(node)) {
      const [argument] = node.arguments;
      const loads = node.expression.kind === ts.SyntaxKind.ImportKeyword || node.expression.getText() === 'require';
      if (loads && argument !== undefined && ts.isStringLiteralLike(argument)) {
        imports.push({ from: argument.text, typeOnly: false });
      }
    }
    if (ts.isStringLiteralLike(node)) addons.push(...(/[\w-]+\.node$/.exec(node.text) ?? []));
    if (ts.isNewExpression(node) && ts.isIdentifier(node.expression)) constructs.push(node.expression.text);
    if (ts.isPropertyAccessExpression(node) && node.name.text === 'env' && node.expression.getText() === 'process') {
      readsEnvironment = true;
    }
    if (
      ts.isElementAccessExpression(node) &&
      node.expression.getText() === 'process' &&
      /^['"`]env['"`]$/.test(node.argumentExpression.getText())
    ) {
      readsEnvironment = true;
    }
    if (
      ts.isVariableDeclaration(node) &&
      node.initializer?.getText() === 'process' &&
      ts.isObjectBindingPattern(node.name) &&
      node.name.elements.some((element) => (element.propertyName ?? element.name).getText() === 'env')
    ) {
      readsEnvironment = true;
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, true));
  return { imports, addons, readsEnvironment, constructs };
}

function isTypeOnly(node: ts.ImportDeclaration | ts.ExportDeclaration): boolean {
  if (ts.isExportDeclaration(node)) {
    if (node.isTypeOnly) return true;
    const clause = node.exportClause;
    return clause !== undefined && ts.isNamedExports(clause) && clause.elements.every((element) => element.isTypeOnly);
  }
  const clause = node.importClause;
  if (clause === undefined) return false;
  if (clause.isTypeOnly) return true;
  const bindings = clause.namedBindings;
  return (
    clause.name === undefined &&
    bindings !== undefined &&
    ts.isNamedImports(bindings) &&
    bindings.elements.every((element) => element.isTypeOnly)
  );
}
