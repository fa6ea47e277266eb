import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { contentOf, frame, request, startPlugin } from '@hearth/testkit';
import ts from 'typescript';
import type { Plugin } from '../../../daemon/plugins/api';
import { pluginOptionTable } from '../../../daemon/plugins/option-table';
import { createPlugin } from '../../../daemon/plugins/scaffold';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hearth-scaffold-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** The diagnostics of the strict compiler for files that lie where `createPlugin` would put them in this checkout. */
function diagnose(files: readonly string[]): string[] {
  const { config } = ts.readConfigFile(join(process.cwd(), 'tsconfig.json'), ts.sys.readFile) as {
    config: { compilerOptions: object };
  };
  const { options } = ts.convertCompilerOptionsFromJson(
    {
      ...config.compilerOptions,
      incremental: false,
      tsBuildInfoFile: undefined,
      noEmit: true,
      types: ['node', 'jest'],
    },
    process.cwd(),
  );
  const host = ts.createCompilerHost(options);
  const placed = new Map(files.map((file) => [join(process.cwd(), 'plugins', 'doorbell', basename(file)), file]));
  const { readFile, fileExists, getSourceFile } = host;
  // The directory is not there.
  host.directoryExists = () => true;
  host.fileExists = (path) => placed.has(path) || fileExists(path);
  host.readFile = (path) => readFile(placed.get(path) ?? path);
  host.getSourceFile = (path, language) => {
    const file = placed.get(path);
    return file === undefined
      ? getSourceFile(path, language)
      : ts.createSourceFile(path, readFileSync(file, 'utf8'), language);
  };
  // What the kit's own sources need beside them.
  const ambient = join(process.cwd(), 'daemon/streams/fvad-wasm.d.ts');
  const program = ts.createProgram([...placed.keys(), ambient], options, host);
  return ts.getPreEmitDiagnostics(program).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' '));
}

/** What the compiler makes of it, loaded. */
function load(file: string): Plugin {
  const { outputText } = ts.transpileModule(readFileSync(file, 'utf8'), {
    compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 },
  });
  const module = { exports: {} as { default?: Plugin } };
  const requireApi = (): unknown => jest.requireActual('../../../daemon/plugins/api');
  new Function('module', 'exports', 'require', outputText)(module, module.exports, requireApi);
  return module.exports.default as Plugin;
}

test('a new plugin compiles and answers frames and requests', async () => {
  const paths = createPlugin('doorbell', dir);
  expect(paths).toEqual(['index.ts', 'README.md', 'doorbell.test.ts'].map((name) => join(dir, 'doorbell', name)));
  const file = paths[0] as string;
  expect(diagnose(paths.filter((path) => path.endsWith('.ts')))).toEqual([]);

  const plugin = load(file);
  const running = await startPlugin(plugin, {
    config: { prompt: 'Is it open?' },
    replies: [{ text: 'Yes. ' }, { text: 'Blue' }],
  });
  await running.frame(frame);
  expect(contentOf(running.jobs[0])).toEqual({ texts: ['Is it open?'], refs: ['frame-ref'] });
  expect(running.emitted).toMatchObject([{ kind: 'answer', text: 'Yes.' }]);
  expect(await running.request(request('doorbell', { question: 'Which colour?' }))).toEqual({ text: 'Blue' });
  await expect(running.request(request('doorbell', {}))).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
  expect(readFileSync(paths[1] as string, 'utf8')).toContain(pluginOptionTable(plugin.manifest.configSchema));
});

test.each(['', 'Door', '1door', '-door', 'door_bell', '../door', 'a/b', 'döör', 'a'.repeat(65), '__proto__', '.'])(
  'the name %j is refused',
  (name) => {
    expect(() => createPlugin(name, dir)).toThrow(expect.objectContaining({ code: 'PLUGIN_NAME_INVALID' }));
    expect(readdirSync(dir)).toEqual([]);
  },
);

test('nothing that is there is touched', () => {
  mkdirSync(join(dir, 'door'));
  writeFileSync(join(dir, 'door', 'index.ts'), 'mine');
  writeFileSync(join(dir, 'bell'), 'a file');
  for (const name of ['door', 'bell']) {
    expect(() => createPlugin(name, dir)).toThrow(expect.objectContaining({ code: 'PLUGIN_EXISTS' }));
  }
  expect(readFileSync(join(dir, 'door', 'index.ts'), 'utf8')).toBe('mine');
  expect(readdirSync(join(dir, 'door'))).toEqual(['index.ts']);
});

test('a place that cannot be written says so', () => {
  writeFileSync(join(dir, 'file'), '');
  expect(() => createPlugin('door', join(dir, 'file', 'plugins'))).toThrow(
    expect.objectContaining({
      code: 'FILE_WRITE_FAILED',
      message: expect.stringContaining(join(dir, 'file', 'plugins')),
    }),
  );
});
